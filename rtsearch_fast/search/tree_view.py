"""A finished tree as text, for terminals and documents."""

from __future__ import annotations

import unicodedata

from .records import SearchTree

__all__ = ["printable", "render_tree"]


def printable(text: str, keep: str = "") -> str:
    r"""Escape all that a terminal would obey instead of showing it, but for the characters `keep`.

    For text that models, files and servers wrote: escape sequences, line ends, characters that
    turn the direction of writing, halves of surrogate pairs.

    Examples
    --------
    >>> printable("a\tb\x1b[2Jc\n", keep="\n")
    'a\\tb\\x1b[2Jc\n'
    """
    return "".join(
        char
        if char.isprintable() or char in keep or unicodedata.category(char) == "Zs"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def render_tree(tree: SearchTree, *, max_depth: int | None = None, width: int = 100) -> str:
    """Draw a tree, one node a line: visits, mean value, and the beginning of the step.

    Control characters in the model's text are escaped.

    Parameters
    ----------
    tree : SearchTree
    max_depth : int, optional
        Leave out what lies deeper.
    width : int
        Longest line, in characters.

    Returns
    -------
    str
        Without a trailing newline. A terminal node's line ends in ``[end]``.

    Examples
    --------
    >>> print(render_tree(SearchTree((-1, 0, 0), ("", "2 + 2 = 4", "2 + 2 = 5"), (3, 2, 1),
    ...                              (0.5, 0.7, 0.1), (1.0, 0.5, 0.5), (False, True, True))))
    root  N=3 V=0.500
    |- N=2 V=0.700  2 + 2 = 4 [end]
    `- N=1 V=0.100  2 + 2 = 5 [end]
    """
    children: list[list[int]] = [[] for _ in tree.parent]
    for node, parent in enumerate(tree.parent[1:], start=1):
        children[parent].append(node)
    lines = [f"root  N={tree.visit_count[0]} V={tree.mean_value[0]:.3f}"]
    # (node, what stands before its line, is it its parent's last child, depth)
    pending = [(node, "", node == children[0][-1], 1) for node in reversed(children[0])]
    while pending:
        node, indent, last, depth = pending.pop()
        if max_depth is not None and depth > max_depth:
            continue
        head = f"{indent}{'`-' if last else '|-'} N={tree.visit_count[node]} "
        head += f"V={tree.mean_value[node]:.3f}  "
        tail = " [end]" if tree.terminal[node] else ""
        lines.append(head + _excerpt(tree.step[node], width - len(head) - len(tail)) + tail)
        indent += "   " if last else "|  "
        below = children[node]
        pending += [(child, indent, child == below[-1], depth + 1) for child in reversed(below)]
    return "\n".join(lines)


def _excerpt(text: str, width: int) -> str:
    text = printable(" ".join(text.split()))
    width = max(width, 8)
    return text if len(text) <= width else text[: width - 3] + "..."
