"""Read the data files of this room: YAML in which nothing is said twice. An error names the lines."""

from __future__ import annotations

from typing import Any


class Text(str):
    """A text of a file, with the line on which it is, counted from 1."""

    line: int = 0


class InvalidText(ValueError):
    """The file is no YAML, or says something twice. The text names the lines and quotes keys only."""


def read_yaml(text: str, *, with_lines: bool = False) -> Any:
    """Return what a YAML text holds, ``None`` for an empty one; its texts as ``Text`` with ``with_lines``.

    Raise ``InvalidText``: YAML itself would keep the last of two equal keys without a word.
    """
    import yaml

    loader = _loader(with_lines)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_repeated_keys(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InvalidText(f"{line}this is no YAML ({error.problem or error.context})") from None
    except (yaml.YAMLError, RecursionError):
        raise InvalidText("this is no YAML") from None
    finally:
        loader.dispose()


def _loader(with_lines: bool) -> Any:
    import yaml

    fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(fast):  # type: ignore[misc]
        pass

    if with_lines:
        Loader.add_constructor("tag:yaml.org,2002:str", _text_with_line)
    return Loader


def _text_with_line(_loader: Any, node: Any) -> Text:
    text = Text(node.value)
    text.line = node.start_mark.line + 1
    return text


def _refuse_repeated_keys(node: Any) -> None:
    import yaml

    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines and name != "<<":
                raise InvalidText(f"line {line}: {name!r} is in line {lines[name]} already; keep one of them")
            lines[name] = line
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item)
