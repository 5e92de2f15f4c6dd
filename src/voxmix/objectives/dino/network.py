"""Student and teacher: two backbones with heads, of which one learns and the other follows."""

import copy

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn.functional import normalize

from voxmix.encoders.backbone import Backbone, Features
from voxmix.objective_rows import DinoSettings
from voxmix.training.whole_batch import BatchFeatures


class DinoHead(nn.Module):
    """From features to directions, and the prototypes that they are compared with (Caron et al. 2021).

    A perceptron, its output of unit length, and prototypes of unit length: outputs are cosines.
    """

    def __init__(self, settings: DinoSettings, *, width: int) -> None:
        super().__init__()
        hidden, last = settings.head_hidden, settings.head_bottleneck
        widths = [width, *[hidden] * (settings.head_layers - 1), last]
        layers: list[nn.Module] = []
        for number in range(settings.head_layers):
            layers += [nn.GELU()] if number else []
            layers.append(nn.Linear(widths[number], widths[number + 1]))
        self.mlp = nn.Sequential(*layers)
        self.prototypes = nn.Parameter(torch.zeros(settings.prototypes, last))

    def initialize(self) -> None:
        """Draw starting weights from torch's global generator: normal, 0.02, cut at two deviations (DINOv2)."""
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, features: Float[Tensor, "*row width"]) -> Float[Tensor, "*row bottleneck"]:
        return normalize(self.mlp(features), dim=-1, eps=1e-6)

    def directions(self) -> Float[Tensor, "prototype bottleneck"]:
        """Return the prototypes, of unit length."""
        return normalize(self.prototypes, dim=-1)


class Tower(nn.Module):
    """A backbone, the head of its class token, and that of its patches where they have one of their own."""

    def __init__(self, backbone: Backbone, settings: DinoSettings) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = DinoHead(settings, width=backbone.width)
        own = settings.ibot_weight > 0 and not settings.shared_head
        self.patch_head = DinoHead(settings, width=backbone.width) if own else None

    @property
    def of_patches(self) -> DinoHead:
        """The head of the patches."""
        return self.head if self.patch_head is None else self.patch_head


class Hidden:
    """Which patches of the large views are hidden, on the device.

    Attributes:
        mask: of every patch of every large view.
        index: places of the patches that may be hidden, ``most`` for each view.
        valid: which of them are.
    """

    def __init__(
        self,
        mask: Bool[Tensor, "view token"],
        index: Int[Tensor, "view most"],
        valid: Bool[Tensor, "view most"],
    ) -> None:
        self.mask, self.index, self.valid = mask, index, valid


class StudentTeacher(nn.Module):
    """A student, and a teacher that never learns by gradients.

    Its forward returns what the loss of a batch is computed from: directions of class tokens and of hidden patches, class
    tokens as they are, and the prototypes.
    """

    center: Tensor
    patch_center: Tensor

    def __init__(self, student: Tower, settings: DinoSettings) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        if not settings.ibot_weight:
            for name, parameter in student.backbone.named_parameters():
                if name.endswith("mask_token"):
                    parameter.requires_grad_(False)
        self.register_buffer("center", torch.zeros(settings.prototypes))
        self.register_buffer("patch_center", torch.zeros(settings.prototypes))

    def train(self, mode: bool = True) -> "StudentTeacher":
        """Let the student leave branches out now and then; the teacher never does."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self,
        large: Float[Tensor, "draw view *edge"],
        small: Float[Tensor, "draw near *small"],
        hidden: Hidden | None,
        keys: Int[Tensor, " draw"],
    ) -> BatchFeatures:
        draws, views = large.shape[:2]
        pixels = large.flatten(0, 1).unsqueeze(1)
        mask, index = (None, None) if hidden is None else (hidden.mask, hidden.index)
        key = (keys.unsqueeze(1) * 64 + torch.arange(views, device=keys.device)).flatten()
        with self.student.backbone.keyed(key):
            seen = self.student.backbone.forward_at(pixels, index, mask)
        with torch.no_grad():
            taught = self.teacher.backbone.forward_at(pixels, index)
        cls = seen.cls.view(draws, views, -1)
        known = [self.student.head(cls)]
        if small.shape[1]:
            key = (
                keys.unsqueeze(1) * 64 + views + torch.arange(small.shape[1], device=keys.device)
            ).flatten()
            with self.student.backbone.keyed(key):
                near = self.student.backbone.forward_at(small.flatten(0, 1).unsqueeze(1))
            known.append(self.student.head(near.cls.view(draws, small.shape[1], -1)))
        rows: dict[str, Tensor] = {
            "student": torch.cat(known, dim=1),
            "teacher": self.teacher.head(taught.cls).view(draws, views, -1).detach(),
            "cls": cls,
        }
        shared: dict[str, Tensor] = {
            "prototypes": self.student.head.directions(),
            "taught": self.teacher.head.directions().detach(),
            "center": self.center.detach().clone(),
        }
        if hidden is not None:
            rows["hidden"] = hidden.valid.view(draws, views, -1)
            rows["patches"] = _of_hidden(self.student.of_patches, seen, hidden, draws)
            with torch.no_grad():
                rows["taught_patches"] = _of_hidden(self.teacher.of_patches, taught, hidden, draws)
            shared["patch_prototypes"] = self.student.of_patches.directions()
            shared["taught_patch_prototypes"] = self.teacher.of_patches.directions().detach()
            shared["patch_center"] = self.patch_center.detach().clone()
        return BatchFeatures(rows, shared)


@_disable_dynamo  # torch.compiler.disable, without a second of imports where nothing is compiled
def _of_hidden(
    head: DinoHead, features: Features, hidden: Hidden, draws: int
) -> Float[Tensor, "draw view most bottleneck"]:
    """Return the head's output for the hidden patches alone; 0 where fewer are hidden than may be.

    Their number changes with every batch, and a compiler would work again for each: it leaves this part out.
    """
    found: Tensor = head(features.patches[hidden.valid])
    result = found.new_zeros(*hidden.valid.shape, found.shape[-1])
    result[hidden.valid] = found
    return result.view(draws, -1, *result.shape[1:])
