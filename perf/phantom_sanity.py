"""Does a result on phantoms mean something? Four checks that can fail, with stored results.

    python -m perf.phantom_sanity --out docs/explanation/phantom-sanity.json [--nih FOLDER]

1. A small convolutional network learns an effusion from phantom chest films and is tested on films of another seed.
2. The same network trained where a marker goes along with the effusion: tested with the marker, and with it reversed.
3. nano's zero-shot modality on phantoms of every kind it was trained on the real counterpart of.
4. A linear probe on nano's vectors fitted on phantom chest films (consolidation or effusion or none) and tested on real
   films (nih-cxr14, Pneumonia against No Finding, held-out cases of nano only), whatever it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vesalius.cases import CaseSet
from vesalius.metrics.statistics.bootstrap import bootstrap
from vesalius.metrics.statistics.intervals import wilson
from vesalius.models import load
from vesalius.models.probes import fit_probe
from vesalius.models.store import find
from vesalius.models.zeroshot import zero_shot
from vesalius.render.display import to_display
from vesalius.sources.phantom import Phantom, PhantomConfig, Shortcut

TARGET = "pleural effusion"
FILMS = PhantomConfig(
    studies={"chest_film": 1.0}, size=64, prevalence={TARGET: 0.5}, questions=False, organs=False, geometries=("box",)
)
#: Study of the phantom to the words its modality is asked with, where nano has seen the real thing.
KINDS = {
    "chest_film": "chest x-ray",
    "dermoscopy": "dermoscopy image",
    "ultrasound": "ultrasound image",
    "blood": "blood smear under a microscope",
    "histology": "histology slide",
    "fundus": "fundus photograph",
    "brain_mr": "MRI",
}


def films(config: PhantomConfig, n: int) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """`(n, 1, H, W)` pictures in [0, 1] and `(n,)` labels."""
    pictures, labels = [], []
    for case in Phantom(config).cases(n, workers=2):
        image = case.images[0]
        pictures.append(to_display(image.pixels(), image))
        labels.append(int(case.label(TARGET) == 1))
    return torch.from_numpy(np.stack(pictures)[:, None]).float() / 255, np.asarray(labels)


def network() -> nn.Module:
    """Four strided convolutions, mean, one output; 70 k parameters."""
    layers: list[nn.Module] = []
    for c_in, c_out in ((1, 16), (16, 32), (32, 64), (64, 80)):
        layers += [nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(80, 1))


def learn(config: PhantomConfig, n: int, epochs: int, seed: int) -> nn.Module:
    """Train the small network on films of one configuration."""
    x, y = films(config, n)
    torch.manual_seed(seed)
    net = network()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * (n // 50))
    truth = torch.from_numpy(y).float()
    for _ in range(epochs):
        for index in torch.randperm(n)[: n // 50 * 50].split(50):
            optimiser.zero_grad()
            F.binary_cross_entropy_with_logits(net(x[index])[:, 0], truth[index]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def tested(net: nn.Module, config: PhantomConfig, n: int) -> dict[str, Any]:
    """AUROC with a bootstrap interval on films of a configuration."""
    x, y = films(config, n)
    with torch.no_grad():
        score = net(x)[:, 0].double().numpy()
    found = bootstrap(y, score, "auroc", resamples=2000)
    return {"auroc": found.estimate, "interval": found.interval.to_dict(), "n": n}


def generalises(n: int, epochs: int) -> dict[str, Any]:
    """Check 1 and 2."""
    marker = FILMS.replace(shortcut=Shortcut(TARGET, "marker", 0.9))
    broken = FILMS.replace(shortcut=Shortcut(TARGET, "marker", -0.9))
    plain = learn(FILMS.replace(name="train", seed=11), n, epochs, 0)
    cheat = learn(marker.replace(name="train", seed=12), n, epochs, 0)
    return {
        "trained_on": n,
        "new_seed": tested(plain, FILMS.replace(name="test", seed=21), 600),
        "with_marker": tested(cheat, marker.replace(name="test", seed=22), 600),
        "marker_reversed": tested(cheat, broken.replace(name="test", seed=22), 600),
    }


def modality(each: int) -> dict[str, Any]:
    """Check 3."""
    model = load("nano", device="cpu")
    words = list(KINDS.values())
    shot = zero_shot(model, words)
    rows, right, total = {}, 0, 0
    for number, study in enumerate(KINDS):
        cases = list(Phantom(PhantomConfig(seed=31, studies={study: 1.0}, size=128)).cases(each, workers=2))
        said = shot.predict_proba([c.images[0] for c in cases]).argmax(1)
        hits = int((said == number).sum())
        rows[study] = {"right": hits, "n": each, "said": {words[k]: int((said == k).sum()) for k in np.unique(said)}}
        right, total = right + hits, total + each
    return {"right": right, "n": total, "interval": wilson(right, total).to_dict(), "by_study": rows}


def to_real(nih: Path, n: int) -> dict[str, Any]:
    """Check 4."""
    from vesalius.sources.open_sets.readers import read_layout

    model = load("nano", device="cpu")
    config = PhantomConfig(
        seed=41, studies={"chest_film": 1.0}, size=224, prevalence={"consolidation": 0.4, TARGET: 0.2}, questions=False
    )
    drawn = list(Phantom(config).cases(n, workers=2))
    y = np.asarray([int(c.label("consolidation") == 1 or c.label(TARGET) == 1) for c in drawn])
    x = model.embed([c.images[0] for c in drawn]).astype(np.float64)
    probe = fit_probe("logistic", x, y, [c.group for c in drawn], classes=2)
    unseen = set(json.loads((find("nano").folder / "held_out.json").read_text("utf-8")))
    real: CaseSet = read_layout("nih-cxr14", nih)
    kept = [c for c in real if c.id in unseen and (c.label("Pneumonia") == 1) != (c.label("No Finding") == 1)]
    truth = np.asarray([int(c.label("Pneumonia") == 1) for c in kept])
    score = probe.scores(model.embed([c.images[0] for c in kept]))[:, 1]
    found = bootstrap(truth, score, "auroc", groups=[c.group for c in kept], stratified=False, resamples=2000)
    return {"trained_on": n, "auroc": found.estimate, "interval": found.interval.to_dict(), "n": len(kept)}


def main() -> None:
    """Run the checks and print or store the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--nih", type=Path, help="folder of the nih-cxr14 set")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    record: dict[str, Any] = {"cnn": generalises(options.n, options.epochs), "zero_shot_modality": modality(40)}
    if options.nih:
        record["probe_to_real"] = to_real(options.nih, 400)
    text = json.dumps(record, indent=1)
    if options.out:
        options.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
