"""YAML from strangers: what a loader for configuration needs to be safe with any text, of any size and nesting.

PyYAML's own safe loader runs no code, but it expands: nine aliases in nine levels (a "billion laughs" document) become
gigabytes when merged, printed or validated; an alias to its own parent never ends; and odd scalars (`!!bool maybe`,
`!!int ''`) end in KeyError, IndexError and the like. All of that is one `YAMLError` with a line here.
"""

from collections.abc import Hashable
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode

MAX_DEPTH = 50
MAX_NODES = 20_000
"""Keys and values; the exceptions for a thousand hosts are five thousand. PyYAML makes some 30,000 a second."""

MAX_EXPANDED = 8 * 1024 * 1024
"""Characters and nodes of a document once every alias is replaced by what it stands for."""


class BoundedLoader(yaml.SafeLoader):
    """A safe loader that refuses what it could not expand."""

    max_nodes = MAX_NODES

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._weights: dict[int, int] = {}  # by identity of the composed node; absent while it is being composed

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose a node and weigh it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        start = event.start_mark
        if isinstance(event, AliasEvent) and id(self.anchors.get(event.anchor)) not in self._weights:
            raise ComposerError(None, None, "an alias to nothing, or to what it is a part of", start)
        if len(self._weights) >= self.max_nodes:
            raise ComposerError(None, None, f"more than {self.max_nodes} keys and values", start)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", start)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and id(node) not in self._weights:
            self._weights[id(node)] = self._weigh(node, start)
        return node

    def _weigh(self, node: Node, start: Any) -> int:
        if isinstance(node, ScalarNode):
            return 1 + len(node.value)
        parts = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        weight = 1 + sum(self._weights[id(part)] for part in parts)
        if weight > MAX_EXPANDED:
            raise ComposerError(None, None, "its aliases expand to far more than a configuration", start)
        return weight

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Construct a value; what does not fit its tag is named by its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(None, None, f"a value that is no {kind}", node.start_mark) from None


class StrictLoader(BoundedLoader):
    """Of a key that stands twice one would be lost without a word: refused."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping whose keys are all different."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise ConstructorError(None, None, f"the key {key.value[:60]} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)
