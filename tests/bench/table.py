"""Runs the rows of the table, each builder and raw pipeline in turns, and writes the results."""
from dataclasses import dataclass

import measure, report
from peers import available
from rows import ROWS


@dataclass(frozen=True)
class Line:
    """The cost of one row with one builder or raw pipeline. `ratio` is to the raw pipeline, by medians."""
    row: object
    who: str
    sample: measure.Sample
    ratio: float
    target: float | None
    size: int | None


def first_raw(row, bench):
    """Returns the name, function and reference seconds of the raw pipeline that a row is compared with."""
    return next((raw for raw in row.raw if raw[1](bench)), None)


def one_row(row, bench, builders, runs, notes):
    """Returns the lines of a row: the raw pipeline, then each builder that could do it."""
    raw_name, raw, raw_seconds = first_raw(row, bench)
    folder = row.prepare(bench)
    measure.run(raw(bench))  # warms the page cache
    lasting = {builder.name: bench.image() if row.is_pushed else None for builder in builders}
    image = lambda builder: lasting[builder.name] if row.is_repeated or not row.is_pushed else bench.image()
    times, last = {raw_name: []}, {}
    left = []
    for builder in builders:
        try:
            builder.forget()
            if row.is_repeated:
                measure.run(builder.command(row.job(folder, lasting[builder.name])))
            left.append(builder)
        except measure.Failed as error:
            failed(builder, row, error, notes)
    for _ in range(runs):
        times[raw_name].append(measure.run(raw(bench)))
        for builder in list(left):
            try:
                if row.is_cold:
                    builder.forget()
                last[builder.name] = image(builder)
                sample = measure.run(builder.command(row.job(folder, last[builder.name])))
                times.setdefault(builder.name, []).append(sample)
            except measure.Failed as error:
                left.remove(builder)
                times.pop(builder.name, None)
                failed(builder, row, error, notes)
    for builder in builders:
        builder.forget()
    base = measure.middle(times[raw_name])
    lines = []
    for who, samples in times.items():
        sample = measure.middle(samples)
        size = bench.registry.layer_bytes(last[who]) if row.shows_size and who in last else None
        target = row.target / raw_seconds if who == "xbuild" else None
        lines.append(Line(row, who, sample, sample.seconds / base.seconds, target, size))
    return lines


def failed(builder, row, error, notes):
    """A peer that cannot do a row is noted; a failure of xbuild ends the bench."""
    if builder.name == "xbuild":
        raise error
    notes.append(f"{builder.name} could not do `{row.name}`: {str(error).splitlines()[-1]}")


def run(bench, names, runs, out):
    """Runs the rows and writes results.md and results.svg to the folder `out`."""
    builders, notes = available(bench.work)
    rows = [row for row in ROWS if not names or row.name in names]
    lines = []
    try:
        for row in rows:
            report.say(f"{row.name}: {row.title}")
            lines += one_row(row, bench, builders, runs, notes)
    finally:
        for builder in builders:
            builder.close()
    for row in rows:
        missing = [name for name, command, _ in row.raw if not command(bench)]
        notes += [f"{row.name}: no `{name}` in PATH" for name in missing]
    text = report.table(lines, notes, bench.scale, runs)
    (out / "results.md").write_text(text)
    (out / "results.svg").write_text(report.chart(lines))
    print(text)
    report.say(f"{out}/results.md, {out}/results.svg")
