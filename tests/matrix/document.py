"""The measured tables in docs/environments.md, between marks."""
import pathlib, re

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/environments.md"


def markdown(head, lines):
    """Returns a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def matrix(measured, columns):
    return markdown(["environment", "isolation", *columns.values()],
                    [[row.label, "-" if isolation == "none" else f"`{isolation}`", *signs] for row, isolation, signs in measured])


def keep(name, table, record):
    """Compares the page's table with a measured one, or writes it. Returns whether the page is right."""
    text = PAGE.read_text()
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- end of {name} -->"
    table += "\n"
    old = re.search(re.escape(begin) + "(.*?)" + re.escape(end), text, re.S)
    if not old:
        print(f"{PAGE.name} has no place for the table {name}")
        return False
    if record:
        PAGE.write_text(text[:old.start(1)] + table + text[old.end(1):])
    elif old[1] != table:
        print(f"{PAGE.name} has another table {name}; `make record-matrix` writes it:\n{table}")
    return record or old[1] == table
