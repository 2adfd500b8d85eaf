"""Lines of Markdown that the pages of several tasks have."""

SHOWN = 10
"""Rows of a list that are shown; the rest is counted."""


def class_table(title, counts, form=str):
    """Makes a table of classes by falling number.

    Args:
        title: Of the numbers' column.
        counts: Dict of class name to number.
        form: Function that writes a number.

    Returns:
        List of lines: of many classes the first and the last.
    """
    rows = sorted(counts.items(), key=lambda item: -item[1])
    rows = [(name, form(count)) for name, count in rows]
    if len(rows) > 2 * SHOWN:
        rows = [*rows[:SHOWN], ("...", ""), *rows[-SHOWN:]]
    return [
        f"| class | {title} |",
        "|---|--:|",
        *(f"| {cell(name)} | {count} |" for name, count in rows),
        "",
    ]


def cell(text):
    """Text for a cell of a table, which a bar in it would end."""
    return str(text).replace("|", "\\|")


def percent(share):
    """Writes a share as a percentage; `None` as a dash."""
    return "-" if share is None else f"{share:.1%}"


def size_lines(facts):
    """Says how large images are, and how many EXIF turns.

    Args:
        facts: Dict of `"least_size"` and `"largest_size"`, height and width
            or `None`, and of `"rotated"` where it is known.

    Returns:
        List of lines.
    """
    lines = []
    if facts["least_size"]:
        (h, w), (height, width) = facts["least_size"], facts["largest_size"]
        lines.append(f"- sizes from {w} x {h} to {width} x {height} pixels")
    if facts.get("rotated"):
        lines.append(
            f"- {facts['rotated']} are turned by their EXIF orientation"
        )
    return lines


def listed(what, rows, name="image"):
    """Counts files, and lists the first of them.

    Args:
        what: Words after their number.
        rows: List of dicts of `name` and `"reason"`.
        name: Key of a file's path.

    Returns:
        List of lines.
    """
    lines = [f"- {len(rows)} {what}"]
    lines += [f"    - {row[name]}: {row['reason']}" for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append("    - ... (--json prints them all)")
    return lines
