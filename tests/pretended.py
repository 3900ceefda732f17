"""A device that is none: what a GPU would be asked to copy and to wait for, counted on a machine without one.

Torch's ``meta`` device computes shapes and no numbers. Whatever asks it for a number raises, as would make a GPU's
queue wait; and what is brought to it passes the dispatcher, where it is counted.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")


class Copies(TorchDispatchMode):
    """Counts the tensors that go from the host to the pretended device."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, operator, types, given=(), named=None):
        output = operator(*given, **(named or {}))
        name = operator._schema.name
        if name == "aten::_to_copy" or name == "aten::copy_":
            source = given[0] if name == "aten::_to_copy" else given[1]
            arrived = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
            if source.device.type == "cpu" and arrived[0].device == META:
                self.sizes.append(source.nbytes)
        return output
