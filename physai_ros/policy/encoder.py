"""From what the senses say to one vector of features, whichever of them are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

VECTORS = ("proprioception", "tactile", "task")
MODALITIES = (*VECTORS, "vision")


_MARKS = 5
"""Numbers at the end of an observation that say what of it is known: pose, gripper, force, pads, task."""


@dataclass(frozen=True)
class EncoderShape:
    """Lengths of the vectors, 0 for none, `image` (height, width, channels) or None, and of the `features`.

    `dropout` is the chance with which training hides a modality that is there, so that its absence is learned.
    `cameras` names those whose pictures lie side by side along the channels of the image, three each; each is a
    modality of its own, seen or not. Without a name the image is one picture of any camera. What the policy is
    `blind_to`, of the vectors, lies in the observation and is not looked at: where objects are, for a policy that sees.
    Of the task's vector it is `told` these components all the same: the goal.
    """

    proprioception: int
    tactile: int = 0
    task: int = 0
    image: tuple[int, int, int] | None = None
    features: int = 128
    dropout: float = 0.1
    cameras: tuple[str, ...] = ()
    blind_to: tuple[str, ...] = ()
    told: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.proprioception, self.tactile, self.task) < 0 or self.features < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"not a shape of an encoder: {self}")
        if self.cameras and (self.image is None or self.image[2] != 3 * len(self.cameras)):
            raise ValueError(
                f"cameras {', '.join(self.cameras)} with an image of {self.image}: give height, width and three "
                f"channels a camera, {3 * len(self.cameras)}"
            )
        if unknown := sorted(set(self.blind_to) - set(VECTORS)):
            raise ValueError(f"cannot be blind to {', '.join(unknown)}; expected some of {', '.join(VECTORS)}")
        if self.told and ("task" not in self.blind_to or not 0 <= min(self.told) <= max(self.told) < self.task):
            raise ValueError(
                f"told {self.told} of {self.task} components of the task: be blind to task, name some of it"
            )

    @classmethod
    def of_observation(
        cls,
        task_features: int,
        action_axes: int,
        image: tuple[int, int, int] | None = None,
        features: int = 128,
        cameras: tuple[str, ...] = (),
        blind_to: tuple[str, ...] = (),
        told: tuple[int, ...] = (),
    ) -> EncoderShape:
        """The senses in a vector of `ObservationEncoder`: its parts lie in the order that its table says."""
        sizes = (17 + 2 + 2 * (action_axes + 1), 3 + 2, 2 * task_features)
        return cls(*sizes, image, features, cameras=cameras, blind_to=blind_to, told=told)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EncoderShape:
        """Read what `dataclasses.asdict` and JSON made of a shape."""
        tuples = {name: tuple(data.get(name, ())) for name in ("cameras", "blind_to", "told")}
        return cls(**(data | tuples | {"image": None if data.get("image") is None else tuple(data["image"])}))

    @property
    def sights(self) -> dict[str, slice]:
        """Name of every picture that is embedded, and its channels in the image."""
        if self.image is None:
            return {}
        if not self.cameras:
            return {"vision": slice(0, self.image[2])}
        return {f"vision_{name}": slice(3 * index, 3 * index + 3) for index, name in enumerate(self.cameras)}

    @property
    def embedded_vectors(self) -> dict[str, int]:
        """Length of every vector that is looked at."""
        sizes = {name: getattr(self, name) for name in VECTORS if name not in self.blind_to}
        if self.told:
            sizes["task"] = len(self.told)
        return {name: size for name, size in sizes.items() if size}

    @property
    def vector_size(self) -> int:
        """Length of the observation that `divided` takes."""
        return self.proprioception + self.tactile + self.task + _MARKS

    @property
    def marks(self) -> slice:
        """Where in an observation it says what is known."""
        return slice(self.vector_size - _MARKS, self.vector_size)

    def divided(
        self, observations: torch.Tensor, images: torch.Tensor | None, seen: torch.Tensor | None
    ) -> MultiModalInputs:
        """Observations (n, vector_size) and images (n, height, width, channels) as what each sense says.

        `seen` (n,), or (n, cameras), is true where there is a picture; None: wherever there are any.
        """
        ends = (self.proprioception, self.proprioception + self.tactile, self.vector_size - _MARKS)
        parts = (observations[:, : ends[0]], observations[:, ends[0] : ends[1]], observations[:, ends[1] : ends[2]])
        pose, gripper, force, pads, task = (observations[:, self.marks] > 0.5).unbind(dim=1)
        known = {"proprioception": pose & gripper, "tactile": force | pads, "task": task}
        if self.told:
            # Of the goal it is known where it lies from the tool wherever it is known where the tool is.
            parts, known["task"] = (*parts[:2], parts[2][:, self.told]), known["proprioception"]
        if seen is not None:
            known["vision"] = seen
        sensed = {name: part for name, part in zip(VECTORS, parts, strict=True) if name in self.embedded_vectors}
        return MultiModalInputs(**sensed, vision=images, known=known)


class MultiModalInputs(NamedTuple):
    """What is sensed, for a batch of n: vectors (n, size) and `vision` (n, height, width, channels); None is absent.

    Images are bytes, or numbers in 0 ... 1. `known` maps a modality to (n,), true where it can be trusted, `vision`
    also to (n, cameras); without an entry all of it is.
    """

    proprioception: torch.Tensor | None = None
    tactile: torch.Tensor | None = None
    task: torch.Tensor | None = None
    vision: torch.Tensor | None = None
    known: dict[str, torch.Tensor] | None = None


class MultiModalRobotEncoder(nn.Module):
    """Every modality is normalized and embedded; the sum of the embeddings goes through LayerNorm and two layers.

    Where a modality is absent or not known, a learned vector stands for it: absence changes numbers, never shapes.
    The sum of linear embeddings is one linear layer on all of them side by side. Statistics are buffers, so that they
    travel with the weights; norms are GroupNorm and LayerNorm, so that a batch of one is a row of any other.
    """

    def __init__(self, shape: EncoderShape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self._hidden = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = shape.embedded_vectors
            self.embed = nn.ModuleDict({name: nn.Linear(size, shape.features) for name, size in sizes.items()})
            for name, channels in shape.sights.items():
                sizes[name] = channels.stop - channels.start
                self.embed[name] = _image_layers(sizes[name], shape.features)
            self.absent = nn.ParameterDict(
                {name: nn.Parameter(0.02 * torch.randn(shape.features)) for name in self.embed}
            )
            layers: list[nn.Module] = [nn.LayerNorm(shape.features), nn.SiLU()]
            for _ in range(2):
                layers += [nn.Linear(shape.features, shape.features), nn.LayerNorm(shape.features), nn.SiLU()]
            self.fuse = nn.Sequential(*layers)
        for name, size in sizes.items():
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    def set_normalization(self, name: str, values: np.ndarray) -> None:
        """Take mean and spread of a modality's components from samples; of images (n, h, w, c) those of a channel.

        Raises:
            ValueError: there is no such modality, or its last axis has another length.
        """
        if name == "vision" and self.shape.cameras and values.shape[-1:] == self.shape.image[2:]:
            for sight, channels in self.shape.sights.items():
                self.set_normalization(sight, values[..., channels])
            return
        if name not in self.embed:
            raise ValueError(f"there is no modality '{name}'; there are {', '.join(self.embed)}")
        mean: torch.Tensor = getattr(self, f"{name}_mean")
        if values.shape[-1] != len(mean):
            raise ValueError(f"{name} has {values.shape[-1]} components, expected {len(mean)}")
        numbers = values / 255.0 if values.dtype == np.uint8 else values
        flat = numbers.reshape(-1, numbers.shape[-1]).astype(np.float64)
        mean.copy_(torch.from_numpy(flat.mean(axis=0)))
        # A component that hardly moved in training must not blow up when it moves on the arm.
        getattr(self, f"{name}_scale").copy_(torch.from_numpy(1.0 / np.maximum(flat.std(axis=0), 0.05)))

    def hide_by(self, seed: int) -> None:
        """Draw what training hides from this seed on, so that a run that is resumed hides the same."""
        self._hidden.manual_seed(seed)

    def forward(self, inputs: MultiModalInputs) -> torch.Tensor:
        """Features (n, features).

        Raises:
            ValueError: no modality is there, or one has another shape than the encoder's.
        """
        given = {name: getattr(inputs, name) for name in MODALITIES if getattr(inputs, name) is not None}
        sights = self.shape.sights
        known_names = [name for name in self.embed if name not in sights] + ["vision"] * bool(sights)
        if not given:
            raise ValueError(f"no modality is there; give at least one of {', '.join(known_names)}")
        if unknown := sorted(set(given) - set(known_names)):
            raise ValueError(f"this encoder has no {', '.join(unknown)}; it has {', '.join(known_names)}")
        self._check(given)
        count = len(next(iter(given.values())))
        total = torch.zeros(count, self.shape.features)
        for name in self.embed:
            absent = self.absent[name].expand(count, -1)
            values = given.get("vision") if name in sights else given.get(name)
            if values is None:
                total = total + absent
                continue
            if name in sights:
                values = values[..., sights[name]]
            known = self._known(name, inputs, values)
            total = total + torch.where(known[:, None], self._embedded(name, values), absent)
        return self.fuse(total)

    def _check(self, given: dict[str, torch.Tensor]) -> None:
        for name, values in given.items():
            expected = self.shape.image if name == "vision" else (self.shape.embedded_vectors[name],)
            if tuple(values.shape[1:]) != expected:
                raise ValueError(
                    f"{name} has shape {tuple(values.shape)}, expected (n, {', '.join(map(str, expected))})"
                )

    def _known(self, name: str, inputs: MultiModalInputs, values: torch.Tensor) -> torch.Tensor:
        known = torch.ones(len(values), dtype=torch.bool)
        sights = self.shape.sights
        said = (inputs.known or {}).get("vision" if name in sights else name)
        if said is not None:
            known = (said if said.dim() == 1 else said[:, list(sights).index(name)]).bool()
        if values.is_floating_point():
            known = known & torch.isfinite(values).flatten(1).all(dim=1)
        if self.training and self.shape.dropout:
            known = known & (torch.rand(len(values), generator=self._hidden) >= self.shape.dropout)
        return known

    def _embedded(self, name: str, values: torch.Tensor) -> torch.Tensor:
        numbers = values.float() / 255.0 if values.dtype == torch.uint8 else torch.nan_to_num(values)
        scaled = (numbers - getattr(self, f"{name}_mean")) * getattr(self, f"{name}_scale")
        scaled = scaled.clamp(-5.0, 5.0)
        return self.embed[name](scaled.permute(0, 3, 1, 2) if name in self.shape.sights else scaled)


def _image_layers(channels: int, features: int) -> nn.Sequential:
    """A small convolutional network whose size does not depend on the picture's.

    Pooling to 4 x 4 keeps where things are, which an average over the whole picture would not.
    """
    layers: list[nn.Module] = []
    for before, after, kernel in ((channels, 16, 5), (16, 32, 3), (32, 32, 3)):
        layers += [nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2), nn.GroupNorm(4, after), nn.SiLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * 16, features))
