"""Steps with little work between them: on the CPU in blocks, on a GPU as CUDA graphs.

On a GPU cells are drawn there, and each step is a CUDA graph that is replayed. A step of some hundred small
kernels waits for the host, which launches one after another. A CUDA graph is launched at once: figures in
results/speed/gpu.json.
"""

import sys
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from scmobench.training.fit import TrainerSettings, accelerator

BLOCK = 16  # steps on the CPU in one of Lightning's
WARM_UP = 3  # steps of each size before it is captured, as PyTorch advises; they count as any other


class Resident(LightningModule):
    """A network whose training step takes only indices of cells: their data lie on the device.

    A training step of Lightning is one batch, or after `on_host` a list of them. On CUDA, after
    `steps_on_device`, it is a whole epoch (`DeviceSteps`), with the loss of each step as ``loss`` says.
    """

    steps: "DeviceSteps | None" = None

    @abstractmethod
    def loss(self, cells: Tensor) -> Tensor:
        """Of one step with these cells. On CUDA its shapes follow from the number of cells alone."""

    def loss_on_host(self, batch: Any) -> tuple[Tensor | None, int]:
        """Loss of a batch that a loader made (None: it teaches nothing), and its number of cells."""
        return self.loss(batch), len(batch)

    def steps_on_device(
        self, cells: Tensor, size: int, settings: TrainerSettings | None, drop_last: bool
    ) -> DataLoader | None:
        """Let `DeviceSteps` make the steps of a module on CUDA; returns a loader of one item an epoch.

        None on the CPU, and with ``precision=16-mixed``, whose scale of the loss is decided on the host.

        Parameters
        ----------
        cells : numbers of the cells to train on. size : cells of a step.
        drop_last : leave out a last step of fewer cells.
        """
        settings = settings or TrainerSettings()
        if accelerator(settings.accelerator) != "cuda" or settings.precision == "16-mixed":
            return None
        self.steps, self.automatic_optimization = DeviceSteps(cells, size, drop_last), False
        return DataLoader(range(1))

    def after_step(self) -> None:
        """What follows an update of the parameters."""

    def training_step(self, batch: Any, number: int) -> Tensor | None:
        if self.steps is not None:
            loss, count = self.steps.epoch(), self.steps.count
        elif isinstance(batch, list):
            loss, count = self._updates(batch)
        else:
            loss, count = self.loss_on_host(batch)
        if loss is not None:
            self.log("loss", loss, on_step=False, on_epoch=True, batch_size=count)
        return loss

    def _updates(self, batches: list[Any]) -> tuple[Tensor | None, int]:
        """A step of each batch; the mean of their losses, each counted by its cells."""
        optimiser = self.optimizers(use_pl_optimizer=False)
        losses = []
        for batch in batches:
            with torch.autocast("cpu", enabled=torch.is_autocast_enabled("cpu"), cache_enabled=False):
                loss, count = self.loss_on_host(batch)
            optimiser.zero_grad()
            if loss is not None:
                with torch.autocast("cpu", enabled=False):
                    loss.backward()
                    optimiser.step()
                losses.append((float(loss), count))
            self.after_step()
        if self.trainer.is_last_batch:
            for scheduler in _listed(self.lr_schedulers()):
                scheduler.step()
        if not losses:
            return None, 0
        total = sum(count for _, count in losses)
        return torch.tensor(sum(loss * count for loss, count in losses) / total), total

    def on_train_batch_end(self, *_: Any) -> None:
        if self.automatic_optimization:
            self.after_step()

    def on_train_start(self) -> None:
        if self.steps is not None:
            self.steps.prepare(self)

    def on_fit_end(self) -> None:
        self.stay()

    def stay(self) -> None:
        """Leave the steps to Lightning (again)."""
        self.steps, self.automatic_optimization = None, True


class Blocks:
    """The batches of a loader in lists of `BLOCK`, for a module that is trained on the CPU.

    Lightning's own work, one to two milliseconds a step, is then once a block. The random numbers are drawn
    in the same order, and the steps are the same.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return -(-len(self.loader) // BLOCK)

    def __iter__(self) -> Iterator[list[Any]]:
        batches = iter(self.loader)
        while block := list(islice(batches, BLOCK)):
            yield block


def on_host(module: Resident, loader: DataLoader, settings: TrainerSettings | None) -> DataLoader | Blocks:
    """On the CPU the loader's `Blocks`, whose steps are the module's own; elsewhere the loader."""
    if accelerator((settings or TrainerSettings()).accelerator) != "cpu":
        return loader
    module.automatic_optimization = False
    return Blocks(loader)


def _listed(found: Any) -> list[Any]:
    """What Lightning gives as None, as one or as a list."""
    return found if isinstance(found, list) else [] if found is None else [found]


class DeviceSteps:
    """The steps of an epoch: cells in random order, ``size`` a step, an optimiser's update each.

    The random numbers are those of the device's generator, in the same order whether captured or not. A step
    that cannot be captured is launched as usual.
    """

    def __init__(self, cells: Tensor, size: int, drop_last: bool) -> None:
        whole, rest = divmod(len(cells), size)
        self.plan = [(size, whole)] + ([(rest, 1)] if rest and not drop_last else [])
        self.cells, self.capture = cells, True  # False: steps are launched one by one
        self.count = sum(length * times for length, times in self.plan)  # cells of an epoch
        self.made: Counter[int] = Counter()
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def prepare(self, module: Resident) -> None:
        """Make room on the device, and keep the learning rate there, where captured steps read it."""
        self.module, device = module, module.device
        self.cells = self.cells.to(device)
        self.order = torch.empty_like(self.cells)
        self.first = torch.zeros(1, dtype=torch.int64, device=device)  # of a step's cells in that order
        self.total = torch.zeros((), device=device)
        self.places = {length: torch.arange(length, device=device) for length, _ in self.plan}
        self.optimiser = module.optimizers(use_pl_optimizer=False)
        self.schedulers = _listed(module.lr_schedulers())
        for group in self.optimiser.param_groups:
            if "capturable" in group:
                group["capturable"] = True
                group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)
            elif self.schedulers:
                self.capture = False  # the rate of the capture would stay
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.capture &= self.stream is not None

    def epoch(self) -> Tensor:
        """All steps; the mean of their losses, each counted by its cells."""
        self.order.copy_(self.cells[torch.randperm(len(self.cells), device=self.cells.device)])
        self.first.zero_()
        self.total.zero_()
        for length, times in self.plan:
            for _ in range(times):
                self._step(length)
        for scheduler in self.schedulers:
            scheduler.step()
        return self.total / self.count

    def _step(self, length: int) -> None:
        if length in self.graphs:
            self.graphs[length].replay()
            return
        if not self.capture:
            self._update(length)
            return
        if self.made[length] == WARM_UP and self._captured(length):
            self.graphs[length].replay()
            return
        self.made[length] += 1
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self._update(length)
        torch.cuda.current_stream().wait_stream(self.stream)

    def _captured(self, length: int) -> bool:
        """Record one step as a CUDA graph without making it. False if CUDA refuses."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self._update(length)
        except RuntimeError as error:
            print(f"steps are launched one by one: {error}", file=sys.stderr)
            self.capture = False
            return False
        self.graphs[length] = graph
        return True

    def _update(self, length: int) -> None:
        """One step of ``length`` cells from where the last one ended, all of it on the device."""
        self.optimiser.zero_grad(set_to_none=True)
        cells = self.order.index_select(0, self.places[length] + self.first)
        kind = cells.device.type
        # weights that autocast has kept in half precision would be those of another step
        with torch.autocast(kind, enabled=torch.is_autocast_enabled(kind), cache_enabled=False):
            loss = self.module.loss(cells)
        loss.backward()
        self.optimiser.step()
        self.module.after_step()
        self.total.add_(loss.detach(), alpha=length)
        self.first.add_(length)
