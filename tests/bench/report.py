"""Results as Markdown tables and as a chart."""
import html, math, os, platform, resource, sys

BAR, STEP, LEFT, WIDTH = 16, 22, 360, 900


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def machine():
    """Returns one line about this machine."""
    names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}, {memory:.0f} GiB, Linux {platform.release()}"


def number(value):
    """Returns a number with three significant digits."""
    if value is None:
        return "-"
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(0, min(4, digits))}f}"


def megabytes(value):
    return "-" if value is None else f"{value / 1e6:,.0f} MB"


def peak(sample):
    """Returns the peak of a run. A peak below this program's own cannot be measured, and is shown as a bound."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return ("<= " if sample.peak <= own else "") + megabytes(sample.peak)


def markdown(header, rows):
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table(lines, notes, scale, runs):
    """Returns the table of builders beside raw pipelines, with notes below."""
    rows = []
    for index, line in enumerate(lines):
        is_first = index == 0 or lines[index - 1].row is not line.row
        sample = line.sample
        rows.append([line.row.title if is_first else "", line.who, number(sample.seconds), number(sample.cpu),
                     number(line.ratio), number(line.target), peak(sample), megabytes(line.size)])
    header = ["work", "by", "seconds", "CPU seconds", "ratio to raw", "target ratio", "peak RSS", "layers"]
    head = f"{machine()}; median of {runs}, scale {scale:g}\n\n"
    return head + markdown(header, rows) + "".join(f"\n- {note}" for note in notes) + ("\n" if notes else "")


def growth(series, scale):
    """Returns the table of growing work: each size beside the smallest of its kind."""
    rows = []
    for kind, unit, points, note in series:
        for index, (size, sample) in enumerate(points):
            first_size, first = points[0]
            times = size / first_size
            rows.append([kind if index == 0 else "", f"{size:,} {unit}", number(sample.seconds), number(sample.cpu),
                         peak(sample), number(times), number(sample.seconds / first.seconds),
                         number(sample.peak / first.peak)])
        if note:
            rows.append(["", note, "-", "-", "-", "-", "-", "-"])
    header = ["work", "size", "seconds", "CPU seconds", "peak RSS", "size x", "seconds x", "RSS x"]
    return f"{machine()}; scale {scale:g}\n\n" + markdown(header, rows)


def chart(lines):
    """Returns an SVG: a bar for each line, its length the logarithm of the seconds, and xbuild's target as a stroke."""
    low = math.floor(math.log10(min(line.sample.seconds for line in lines)))
    high = math.ceil(math.log10(max(line.sample.seconds for line in lines))) or 1
    place = lambda seconds: LEFT + (WIDTH - LEFT - 60) * (math.log10(seconds) - low) / max(1, high - low)
    parts, y, row = [], 30, None
    for line in lines:
        if line.row is not row:
            row, y = line.row, y + 26
            parts.append(f'<text x="8" y="{y - 6}" font-weight="bold">{html.escape(row.title)}</text>')
        end = place(line.sample.seconds)
        colour = {"xbuild": "#1f6feb"}.get(line.who, "#9aa4ae")
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR - 3}" text-anchor="end">{html.escape(line.who)}</text>'
                     f'<rect x="{LEFT}" y="{y}" width="{max(1, end - LEFT):.1f}" height="{BAR}" fill="{colour}"/>'
                     f'<text x="{end + 6:.1f}" y="{y + BAR - 3}">{number(line.sample.seconds)} s</text>')
        if line.target:
            at = place(max(10**low, line.target * line.sample.seconds / line.ratio))
            parts.append(f'<path d="M{at:.1f} {y - 3}v{BAR + 6}" stroke="#d1242f" stroke-width="2"/>')
        y += STEP
    ticks = "".join(f'<path d="M{place(10**n):.1f} 24V{y}" stroke="#d8dee4"/>'
                    f'<text x="{place(10**n):.1f}" y="18" text-anchor="middle">{10**n:g} s</text>' for n in range(low, high + 1))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 20}" font-family="sans-serif" '
            f'font-size="12"><rect width="100%" height="100%" fill="white"/>{ticks}{"".join(parts)}</svg>\n')
