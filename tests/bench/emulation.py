"""Emulated steps natively as far as they can, under QEMU alone, and the same steps of this machine's own platform."""
import hashlib, http.server, pathlib, shutil, threading, time, urllib.request

import measure, report
from peers import TOP, Xbuild

# The architectures, with the end of the names that fixtures/base-images gives their base images.
LAYOUTS = {"arm64": "", "arm": "-arm", "s390x": "-s390x", "ppc64le": "-ppc64le"}

CONFIGURE = r"""set -e; mkdir /c; cd /c; n=0
while [ $n -lt COUNT ]; do n=$((n + 1))
  echo "checking for function_$n... no" >> log
  cat > conftest.c <<EOF
#define HAVE_$n 1
EOF
  sed -e "s/HAVE/HAS/" conftest.c > conftest.h; grep -q "HAS_$n" conftest.h
  if test -f conftest.h && expr "x$n" : "x[0-9]*" > /dev/null; then
    echo "s/@V$n@/`echo value $n | tr a-z A-Z`/" >> subs
  fi; rm -f conftest.c conftest.h
done; sort subs | uniq | wc -l"""

PYTHON = "import hashlib\nx = {}\nfor n in range(COUNT):\n    x[n % 997] = hashlib.sha256(str(n).encode()).hexdigest()\nprint(len(x))"

INSTALL = "apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-minimal openssh-client xz-utils"

# The fixture has all of perl; Debian's published images have perl-base alone, and nothing of apt's lists.
PUBLISHED = "apt-get update && apt-get install -y usr-is-merged && apt-get purge -y 'libperl5*' && apt-get clean && rm -rf /var/lib/apt/lists/*"

COMPILE = r"""set -e; mkdir /c; cd /c; n=0
while [ $n -lt COUNT ]; do n=$((n + 1))
  echo "int main(void) { return $n % 2; }" > conftest.c; gcc -O2 -o conftest conftest.c
done
for source in src/gtest-all.cc src/gtest_main.cc samples/sample1.cc samples/sample1_unittest.cc; do
  g++ -O2 -I/usr/src/googletest/googletest/include -I/usr/src/googletest/googletest -c /usr/src/googletest/googletest/$source
done
g++ -o tests *.o"""

# The rows: name, title, the command to prepare, the command that is measured, COUNT at full scale, the base image
# and the value of --emulation.
ROWS = [
    ("install", "apt-get update and install of gcc, python3, openssh-client", PUBLISHED, INSTALL, 0, "debian", "auto"),
    ("configure", "a script of the shell, sed, grep and others", "true", CONFIGURE, 1000, "debian", "auto"),
    ("python", "a loop in Python", "apt-get update && apt-get install -y --no-install-recommends python3-minimal",
     f"python3 -c '{PYTHON}'", 300_000, "debian", "auto"),
    ("compile", "programs for a configure script, then googletest, by GCC of Debian 13 with `cross`",
     "apt-get update && apt-get install -y --no-install-recommends g++ googletest", COMPILE, 20, "debian-13", "cross"),
]


class Mirror:
    """A proxy on the loopback interface that keeps what it fetched: the first install fills it, later ones stay local."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                kept = folder / hashlib.sha256(self.path.encode()).hexdigest()
                if not kept.exists():
                    try:
                        with urllib.request.urlopen(urllib.request.Request(self.path)) as answer:
                            data = answer.read()
                    except OSError as error:
                        return self.send_error(getattr(error, "code", 502))
                    part = kept.with_suffix(f".{threading.get_ident()}")
                    part.write_bytes(data)
                    part.rename(kept)
                data = kept.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def dockerfile(prepare, command, count):
    # Packages keep their signatures; only what they come through is another one.
    return "\n".join(["FROM debian", "ARG MIRROR", "ENV DEBIAN_FRONTEND=noninteractive",
                      "RUN echo \"Acquire::http::Proxy \\\"$MIRROR\\\";\" > /etc/apt/apt.conf.d/00mirror",
                      f"RUN {prepare}", "RUN <<'END'", command.replace("COUNT", str(count)), "END", ""])


def one(bench, builder, mirror, text, architecture, layout, emulation):
    """Returns the seconds of the last step, in a store that has the steps before it."""
    folder = bench.work / "emulation"
    folder.mkdir(exist_ok=True)
    command = [builder.binary, "build", "--root", builder.store, "--progress", "none", "--platform", f"linux/{architecture}",
               "--emulation", emulation, "--build-arg", f"MIRROR={mirror.url}", "--output", "type=cacheonly",
               "--build-context", f"debian=oci-layout://{layout}", folder]
    # A new last step on cached ones: its text differs from run to run.
    (folder / "Dockerfile").write_text(text.replace("<<'END'\n", f"<<'END'\n: {time.monotonic_ns()}\n"))
    return measure.run(command).seconds


def run(bench, names, runs, out, architectures):
    """Runs the rows and writes emulation.md to the folder `out`."""
    builder, mirror = Xbuild(bench.work), Mirror(bench.cache / "mirror")
    lines = ["| step | platform | native | auto | qemu | auto / native | auto / qemu |", "| --- | --- | --- | --- | --- | --- | --- |"]
    try:
        for architecture in architectures:
            for name, title, prepare, command, count, base, best in ROWS:
                if names and name not in names:
                    continue
                layout = TOP / "fixtures/.cache" / (base + LAYOUTS[architecture])
                if not (layout / "index.json").exists():
                    raise measure.Failed(f"no {layout}: fixtures/base-images {base}{LAYOUTS[architecture].replace('-', ':')} makes it")
                text = dockerfile(prepare, command, max(1, int(count * bench.scale)))
                ways = {"native": ("amd64", "auto"), "auto": (architecture, best), "qemu": (architecture, "qemu")}
                samples = {way: [] for way in ways}
                for number in range(runs + 1):
                    for way, (platform, emulation) in ways.items():
                        report.say(f"{name}, {architecture}: {way}" + ("" if number else ", to warm up"))
                        seconds = one(bench, builder, mirror, text, platform, layout, emulation)
                        if number:
                            samples[way].append(seconds)
                native, auto, qemu = (sorted(found)[len(found) // 2] for found in samples.values())
                lines.append(f"| {title} | {architecture} | {native:.1f} s | {auto:.1f} s | {qemu:.1f} s | {auto / native:.2f} | "
                             f"{auto / qemu:.2f} |")
                # What was measured stays if the rest is ended.
                report.say(lines[-1])
    finally:
        mirror.stop()
        builder.close()
        shutil.rmtree(bench.work / "emulation", ignore_errors=True)
    text = "\n".join(lines) + "\n"
    (out / "emulation.md").write_text(text)
    print(text)
