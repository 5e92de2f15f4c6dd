"""Whole training steps of DINO and CLIP, against a plain PyTorch loop with the losses of lightly and open_clip.

    python benchmarks/encoder_loops.py [--rounds 5] [--batch 32] [--film 1024] [--sizes tiny,small] [--edges 64,96] [--json]

Ours is the loop of a study on prepared images. Theirs is written as the examples of both libraries are: a DataLoader that
decodes the same films from PNG with pillow and cuts and resizes views, the library's losses and heads, transformers'
``Dinov2Model`` (DINO with iBOT and KoLeo) or open_clip's two towers (CLIP), AdamW, in float32. Networks have the same sizes,
views the same number and size; theirs change brightness and contrast and do nothing else (their usual blur would cost more);
their reports are cut into tokens before. Each side is a process of its own with one thread, and they take turns: a few steps
of ours, a few of theirs. Time is that of the process on the CPU, so that other work on the machine counts little; the median
of the ratios of each turn counts. *Elsewhere* is the share of a step that is not forward, backward and loss: reading, views,
optimizer, teacher, log. *Kept* is what autograd keeps of an image.

lightly, open_clip and transformers are no dependencies: install them beside (``pip install --no-deps lightly open_clip_torch``).
torchvision is not needed: what they import of it is never called here, and is stood in for.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

SIZES = {"tiny": (96, 4, 3), "small": (192, 6, 6), "ViT-S": (384, 12, 6)}
TEXT_LAYERS, CONTEXT, VOCABULARY, PROJECTION = 4, 77, 2000, 128
PROTOTYPES, HIDDEN, BOTTLENECK, LOCAL_VIEWS = 2048, 512, 128, 6
FILMS = 128


class Clock:
    """Adds up the process time spent within it."""

    def __init__(self):
        self.total = 0.0

    def around(self, call):
        def timed(*arguments, **options):
            began = time.process_time()
            try:
                return call(*arguments, **options)
            finally:
                self.total += time.process_time() - began

        return timed


def kept_bytes(model, call):
    """Return what autograd keeps of a call beyond parameters."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no place is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = call()
    del loss
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def make_films(folder, edge):
    """Write gray films of soft shapes and grain, and the table of their reports."""
    from PIL import Image

    rng = np.random.default_rng(0)
    words = [f"word{k}" for k in range(400)]
    lines = ["image,report,person,domain"]
    for number in range(FILMS):
        soft = Image.fromarray(rng.random((12, 10), dtype=np.float32)).resize((edge * 7 // 8, edge), 3)
        grain = 0.03 * rng.standard_normal((edge, edge * 7 // 8))
        pixels = (np.clip(0.1 + 0.8 * np.asarray(soft) + grain, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        report = " ".join(rng.choice(words, int(rng.integers(8, 40))))
        lines.append(f"{number}.png,{report},p{number},A")
    (folder / "films.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepare(folder, edge):
    """Prepare the films as a study does, and leave their tokens for the other side."""
    from voxmix.images.finding import find_images
    from voxmix.images.prepare import prepare_images
    from voxmix.images.recipe import ImageRecipe
    from voxmix.texts.report_text import TextRecipe

    began = time.process_time()
    table = find_images(folder / "films").split(seed=0)
    done = prepare_images(
        table,
        folder / f"cache{edge}",
        ImageRecipe(pixels=edge * 9 // 8),
        texts=TextRecipe(),
        vocabulary=VOCABULARY,
    )
    return (time.process_time() - began) / len(done.cache.items)


class Ours:
    """Steps of a study's own loop."""

    def __init__(self, objective, size, edge, batch, folder):
        from voxmix.backbone_rows import VitSettings
        from voxmix.compute import ComputeSettings
        from voxmix.cost.encoder import made
        from voxmix.encoder_runs import EncoderSpec, TextSettings, subset_digest
        from voxmix.images.cache import ImageCache
        from voxmix.objective_rows import objective_settings
        from voxmix.run_settings import TrainingSettings
        from voxmix.training import loop
        from voxmix.training.devices import launch_fabric
        from voxmix.training.session import Session

        width, depth, heads = SIZES[size]
        source = ImageCache.open(folder / f"cache{edge}")
        items = [item for item in source.items if item.split == "train"]
        given = {
            "dino": {
                "local_views": LOCAL_VIEWS,
                "local_image": edge // 2,
                "prototypes": PROTOTYPES,
                "head_hidden": HIDDEN,
                "head_bottleneck": BOTTLENECK,
                "centering": "center",
            },
            "clip": {"projection": PROJECTION},
        }[objective]
        spec = EncoderSpec(
            objective=objective,
            objective_settings=objective_settings(objective, given),
            backbone=VitSettings(
                image=edge,
                patch=8,
                width=width,
                depth=depth,
                heads=heads,
                layer_scale=float(objective == "dino"),
            ),
            text=TextSettings(
                width=width,
                depth=TEXT_LAYERS,
                heads=heads,
                context=CONTEXT,
                vocabulary=VOCABULARY,
                causal=True,
                style="clip-gelu",
            ),
            samples=len(items),
            subset=subset_digest(items),
            seed=0,
            budget=batch * 4096,
            training=TrainingSettings(batch_size=batch),
            cache=source.digest,
            tokenizer=source.tokenizer,
        )
        self.made = made(spec, source)
        self.made.check(folder / "run")
        compute = ComputeSettings(device="cpu", trackers=())
        fabric = launch_fabric(compute, precision="32-true")
        self.session = Session.start(
            self.made, fabric, compute=compute, folder=Path(tempfile.mkdtemp(dir=folder))
        )
        self.session.network.train()
        self.make_step, self.inner = loop.make_step, Clock()
        self.flops = self.made.flops_per_draw()
        self.made.features = self.inner.around(self.made.features)
        self.made.losses_of = self.inner.around(self.made.losses_of)
        fabric.backward = self.inner.around(fabric.backward)

    def step(self):
        self.make_step(self.session)
        self.session.look()

    def kept(self, batch):
        from voxmix.training.pieces import Piece

        drawn = self.session.views.read(Piece(first=0, last=batch, weight=1.0, start=0, stop=batch))
        model = self.session.model
        return kept_bytes(model, lambda: self.made.losses(model, drawn)["loss"]) / batch


class Films(torch.utils.data.Dataset):
    """Films from PNG, as views."""

    def __init__(self, folder, kinds, tokens=None):
        self.paths = sorted(Path(folder).glob("*.png"), key=lambda path: int(path.stem))
        self.kinds, self.tokens = kinds, tokens

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, number):
        from PIL import Image

        with Image.open(self.paths[number]) as image:
            image = image.convert("L")
        views = [view(image, edge, area) for count, edge, area in self.kinds for _ in range(count)]
        return (views, number) if self.tokens is None else (views, self.tokens[number])


def view(image, edge, area):
    """Return RandomResizedCrop, brightness and contrast (each of 0.8 of the views), values normalised."""
    from PIL import ImageEnhance

    width, height = image.size
    for _ in range(10):
        size, ratio = random.uniform(*area) * width * height, np.exp(random.uniform(-0.29, 0.29))
        w, h = round((size * ratio) ** 0.5), round((size / ratio) ** 0.5)
        if w <= width and h <= height:
            break
    else:
        w = h = min(width, height)
    x, y = random.randint(0, width - w), random.randint(0, height - h)
    image = image.crop((x, y, x + w, y + h)).resize((edge, edge), 3)
    if random.random() < 0.8:
        image = ImageEnhance.Brightness(image).enhance(random.uniform(0.6, 1.4))
        image = ImageEnhance.Contrast(image).enhance(random.uniform(0.6, 1.4))
    pixels = torch.from_numpy(np.array(image)).unsqueeze(0).float().div(255)
    return (pixels - 0.5) / 0.25


def stand_in():
    """Stand in for what lightly and open_clip import of torchvision, and for the parts of their packages that need more."""

    from transformers import Dinov2Config, Dinov2Model  # before: it looks for torchvision itself

    class Never:
        pass

    assert Dinov2Config is not None
    assert Dinov2Model is not None
    for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.ops"].StochasticDepth = Never
    sys.modules["torchvision.ops.misc"].FrozenBatchNorm2d = Never
    import importlib.util

    for top, inner in (("lightly", ("loss", "models", "models.modules")), ("open_clip", ())):
        found = importlib.util.find_spec(top)
        if found is None:
            raise SystemExit(f"{top} is not installed: pip install --no-deps lightly open_clip_torch")
        (root,) = found.submodule_search_locations
        for part in ("", *inner):
            name = f"{top}.{part}" if part else top
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [str(Path(root, *part.split(".")))]


class Theirs:
    """A plain loop: what is common to both objectives."""

    def __init__(self, data, model, learning, batch):
        self.loader = torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True, drop_last=True)
        self.turn, self.model, self.inner = iter(()), model, Clock()
        self.optimizer = torch.optim.AdamW(learning, lr=1e-4, weight_decay=0.05)
        self.loss = self.inner.around(self.loss)

    def drawn(self):
        found = next(self.turn, None)
        if found is None:
            self.turn = iter(self.loader)
            found = next(self.turn)
        return found

    def step(self):
        batch = self.drawn()
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        self.inner.around(loss.backward)()
        self.optimizer.step()
        self.after()

    def after(self):
        pass

    def kept(self, batch):
        drawn = self.drawn()
        return kept_bytes(self.model, lambda: self.loss(drawn)) / batch


class Dino(Theirs):
    """DINO, iBOT and KoLeo as in lightly's example of DINOv2."""

    def __init__(self, size, edge, batch, folder):
        from lightly.loss.dino_loss import DINOLoss
        from lightly.loss.ibot_loss import IBOTPatchLoss
        from lightly.loss.koleo_loss import KoLeoLoss
        from lightly.models.modules.heads import DINOProjectionHead
        from lightly.models.utils import random_block_mask, update_momentum
        from transformers import Dinov2Config, Dinov2Model

        width, depth, heads = SIZES[size]
        config = Dinov2Config(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            image_size=edge,
            patch_size=8,
            num_channels=1,
            attn_implementation="sdpa",
        )

        def tower():
            head = DINOProjectionHead(width, HIDDEN, BOTTLENECK, PROTOTYPES, norm_last_layer=False)
            return nn.ModuleDict({"backbone": Dinov2Model(config), "head": head})

        self.student, self.teacher = tower(), tower().requires_grad_(False)
        self.teacher.load_state_dict(self.student.state_dict())
        self.dino, self.ibot, self.koleo = DINOLoss(PROTOTYPES), IBOTPatchLoss(PROTOTYPES), KoLeoLoss()
        self.mask, self.momentum, self.cells = random_block_mask, update_momentum, edge // 8
        data = Films(folder / "films", ((2, edge, (0.32, 1.0)), (LOCAL_VIEWS, edge // 2, (0.05, 0.32))))
        super().__init__(data, nn.ModuleList([self.student, self.teacher]), self.student.parameters(), batch)

    def loss(self, drawn):
        views, _ = drawn
        large, small = torch.cat(views[:2]), torch.cat(views[2:])
        mask = self.mask((len(large), self.cells, self.cells))
        flat = mask.flatten(1)
        with torch.no_grad():
            taught = self.teacher["backbone"](large).last_hidden_state
            outputs = self.teacher["head"](taught[:, 0])
            aims = self.teacher["head"](taught[:, 1:][flat])
        seen = self.student["backbone"](large, bool_masked_pos=flat).last_hidden_state
        near = self.student["backbone"](small).last_hidden_state
        known = self.student["head"](seen[:, 0])
        guesses = self.student["head"](seen[:, 1:][flat])
        local = self.student["head"](near[:, 0])
        loss = self.dino(outputs.chunk(2), [*known.chunk(2), *local.chunk(LOCAL_VIEWS)], teacher_temp=0.05)
        loss = loss + self.ibot(aims, guesses, mask, teacher_temp=0.05)
        return loss + 0.1 * sum(self.koleo(part) for part in seen[:, 0].chunk(2))

    def after(self):
        self.momentum(self.student, self.teacher, m=0.99)


class Clip(Theirs):
    """CLIP with open_clip's towers and loss, as its training loop."""

    def __init__(self, size, edge, batch, folder):
        from open_clip.loss import ClipLoss
        from open_clip.transformer import TextTransformer, VisionTransformer

        width, depth, heads = SIZES[size]
        self.image = VisionTransformer(edge, 8, width, depth, heads, 4.0, output_dim=PROJECTION)
        self.image.conv1 = nn.Conv2d(1, width, 8, 8, bias=False)  # gray, as ours
        self.text = TextTransformer(CONTEXT, VOCABULARY + 1, width, heads, TEXT_LAYERS, output_dim=PROJECTION)
        self.scale = nn.Parameter(torch.tensor(2.66))
        self.criterion = ClipLoss()
        model = nn.ModuleList([self.image, self.text])
        tokens = torch.from_numpy(np.load(folder / "tokens.npy"))
        data = Films(folder / "films", ((1, edge, (0.5, 1.0)),), tokens)
        super().__init__(data, model, [*model.parameters(), self.scale], batch)

    def loss(self, drawn):
        (views,), tokens = drawn
        images = nn.functional.normalize(self.image(views), dim=-1)
        texts = nn.functional.normalize(self.text(tokens), dim=-1)
        return self.criterion(images, texts, self.scale.exp())

    @torch.no_grad()
    def after(self):
        self.scale.clamp_(0, 4.6052)


def work(given):
    """Answer lines of a number of steps with their process time, as JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    folder = Path(given.folder)
    if given.side == "ours":
        side = Ours(given.objective, given.size, given.edge, given.batch, folder)
    else:
        stand_in()
        side = {"dino": Dino, "clip": Clip}[given.objective](given.size, given.edge, given.batch, folder)
    side.step()
    print(json.dumps({"kept": side.kept(given.batch), "flops": getattr(side, "flops", None)}), flush=True)
    for line in sys.stdin:
        began, inside = time.process_time(), side.inner.total
        for _ in range(int(line)):
            side.step()
        spent = time.process_time() - began
        print(json.dumps({"spent": spent, "inner": side.inner.total - inside}), flush=True)


def measured(objective, size, edge, *, batch, rounds, steps, folder):
    """Return the figures of one network: both sides in turns."""
    sides, first = {}, {}
    for side in ("ours", "theirs"):
        options = {"folder": folder, "side": side, "objective": objective, "size": size, "edge": edge}
        command = [
            sys.executable,
            __file__,
            *(f"--{name}={value}" for name, value in options.items()),
            f"--batch={batch}",
        ]
        sides[side] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first[side] = json.loads(sides[side].stdout.readline())
    turns = []
    for _ in range(rounds):
        turn = {}
        for side, process in sides.items():
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
            turn[side] = json.loads(process.stdout.readline())
        turns.append(turn)
    for process in sides.values():
        process.stdin.close()
        process.wait()
    row = {
        "objective": objective,
        "size": size,
        "edge": edge,
        "batch": batch,
        "gflop": first["ours"]["flops"] / 1e9,
        "ratio": statistics.median(turn["theirs"]["spent"] / turn["ours"]["spent"] for turn in turns),
        "ratio_inner": statistics.median(turn["theirs"]["inner"] / turn["ours"]["inner"] for turn in turns),
    }
    for side in sides:
        row[f"{side}_images_per_second"] = steps * batch / statistics.median(t[side]["spent"] for t in turns)
        row[f"{side}_elsewhere"] = statistics.median(1 - t[side]["inner"] / t[side]["spent"] for t in turns)
        row[f"{side}_kept_mb"] = first[side]["kept"] / 1e6
    return row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--film", type=int, default=1024, help="longer edge of the films, in pixels")
    parser.add_argument("--sizes", default="tiny,small")
    parser.add_argument("--edges", default="64,96")
    parser.add_argument("--objectives", default="dino,clip")
    parser.add_argument("--json", action="store_true")
    for name in ("folder", "side", "objective", "size"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--edge", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        work(given)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "films").mkdir()
        make_films(folder / "films", given.film)
        edges = [int(edge) for edge in given.edges.split(",")]
        each = {edge: prepare(folder, edge) for edge in edges}
        leave_tokens(folder, edges[0])
        for edge in edges:
            for objective in given.objectives.split(","):
                for size in given.sizes.split(","):
                    row = measured(
                        objective,
                        size,
                        edge,
                        batch=given.batch,
                        rounds=given.rounds,
                        steps=given.steps,
                        folder=folder,
                    )
                    rows.append(row | {"film": given.film, "prepare_ms": 1e3 * each[edge]})
                    print(line_of(rows[-1]) if not given.json else json.dumps(rows[-1]), flush=True)


def leave_tokens(folder, edge):
    """Write the tokens of all films, filled up to the context as open_clip does; the end is the highest number."""
    from voxmix.images.cache import ImageCache

    cache = ImageCache.open(folder / f"cache{edge}")
    rows = np.zeros((FILMS, CONTEXT), dtype=np.int64)
    for number, item in enumerate(cache.items):
        tokens = cache.tokens(item)[:CONTEXT]
        rows[number, : len(tokens)] = tokens
        rows[number, len(tokens) - 1] = VOCABULARY
    np.save(folder / "tokens.npy", rows)


def line_of(row):
    return (
        f"| {row['objective']} | {row['size']} | {row['edge']} | {row['gflop']:.2f} "
        f"| {row['ours_images_per_second']:.1f} | {row['theirs_images_per_second']:.1f} | {row['ratio']:.2f} "
        f"| {row['ratio_inner']:.2f} | {row['ours_elsewhere']:.0%} | {row['theirs_elsewhere']:.0%} "
        f"| {row['ours_kept_mb']:.2f} | {row['theirs_kept_mb']:.2f} | {row['prepare_ms']:.1f} |"
    )


if __name__ == "__main__":
    main()
