"""Measures xbuild beside its peers and beside raw pipelines, and how its cost grows.

`python3 tests/bench` writes target/bench/results.md and results.svg, `python3 tests/bench growth` growth.md,
`python3 tests/bench emulation` emulation.md. Inputs are
generated once and kept in target/bench/inputs; everything else is removed at the end. Neighbours on the machine
disturb: compare numbers of one run only.
"""
import argparse, pathlib, signal, sys, tempfile

import emulation, growth, measure, rows, table
from registry import Registry

OUT = rows.TOP / "target/bench"


def arguments():
    series = [name for name, *_ in growth.SERIES]
    names = [row.name for row in rows.ROWS]
    emulated = [name for name, *_ in emulation.ROWS]
    parser = argparse.ArgumentParser(prog="tests/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["table", "growth", "emulation"], default="table")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="runs of each row (3); their median counts")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME",
                        help=f"only these, of the table\n{' '.join(names)}\nor of growth\n{' '.join(series)}\n"
                             f"or of emulation\n{' '.join(emulated)}")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the inputs, 0.1 for a quick try (1)")
    parser.add_argument("--work", type=pathlib.Path, default=OUT, metavar="FOLDER",
                        help="where stores, results and the registry are (target/bench); one in memory leaves the disk out")
    parser.add_argument("--platforms", nargs="+", default=["arm64"], choices=emulation.LAYOUTS, metavar="ARCH",
                        help=f"those of emulation: {' '.join(emulation.LAYOUTS)} (arm64)")
    given = parser.parse_args()
    unknown = set(given.rows) - set({"table": names, "growth": series, "emulation": emulated}[given.what])
    if unknown or given.runs < 1 or given.scale <= 0:
        parser.error(f"no such row of {given.what}: {' '.join(sorted(unknown))}" if unknown else "N and SCALE must be positive")
    return given


def main():
    given = arguments()
    # As an exception, so that everything is cleaned up after.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        work = pathlib.Path(work)
        registry = Registry(work / "registry")
        try:
            bench = rows.Bench(work, registry, given.scale, OUT / "inputs")
            if given.what == "growth":
                growth.run(bench, given.rows, OUT)
            elif given.what == "emulation":
                emulation.run(bench, given.rows, given.runs, OUT, given.platforms)
            else:
                table.run(bench, given.rows, given.runs, OUT)
        except measure.Failed as error:
            raise SystemExit(f"bench: {error}") from None
        finally:
            registry.stop()


main()
