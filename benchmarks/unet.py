"""What the network costs: time, memory, and how much of it the overlap of tiles takes.

    python benchmarks/unet.py          prints a table; two cores, float32, the shipped network
    python benchmarks/unet.py --runs 5
The peer of overlap-tile is one bare pass of the same network over the whole frame. Memory is
measured in processes of their own.
"""

import argparse
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from celltrack.learn.store import load_model
from celltrack.learn.train import OneDevice, TrainingConfig, make_optimizer
from celltrack.segment.augment import Augment, Crops, make_source
from celltrack.segment.predict import Network, network_maps, predict_maps
from celltrack.segment.unet import UNet, cell_loss
from celltrack.simulate import simulate_movie


def median(function, runs):
    "Return the median of some wall-clock times in seconds, after one run to warm up."
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def frame_of(side):
    "Return a frame with cells, a simulated one repeated, side × side."
    movie, _ = simulate_movie(1, (512, 512), 110, seed=3, radius=12.0)
    times = -(-side // 512)
    return np.tile(movie[0], (times, times))[:side, :side]


def bare(model, image):
    with torch.inference_mode():
        return model(
            torch.from_numpy(image)[None, None].contiguous(memory_format=torch.channels_last)
        )


def tiles(runs):
    "Print overlap-tile against one bare pass, 2048²."
    model = load_model("generalist")[0].to(memory_format=torch.channels_last)
    image = np.random.default_rng(0).random((2048, 2048)).astype(np.float32)
    whole = median(lambda: bare(model, image), runs)
    print(f"2048² frame: one bare pass {whole:.2f} s")
    for tile in (512, 1024, 2048):
        seconds = median(partial(predict_maps, model, image, tile), runs)
        print(
            f"2048² frame: overlap-tile, tile {tile:4}: {seconds:.2f} s, "
            f"{seconds / whole:.2f} times the bare pass"
        )


def frames(runs):
    "Print seconds per 512² frame, network alone and all of `segment`, at the network's own scale."
    frame, network = frame_of(512), Network(diameter=24, device="cpu")
    maps = median(lambda: network_maps(network, frame), runs)
    whole = median(lambda: network.segment(frame), runs)
    print(f"512² frame: network {maps:.2f} s, cells and all {whole:.2f} s")


def step(device, net, optimizer, batch):
    with device.autocast():
        out = net(batch[0])
    cell_loss(out.float(), *batch[1:]).backward()
    optimizer.step()
    optimizer.zero_grad()


def steps(runs):
    "Print training steps per second, 12 crops of 128²."
    movie, truth = simulate_movie(8, (256, 256), 30, seed=1, radius=12.0)
    crops = Crops([([make_source(movie, truth.labels)], 12)], 128, Augment())
    batch = crops(0)
    making = median(lambda: crops(1), runs)
    for precision in ("32", "bf16"):
        alone, model = OneDevice("cpu", precision), UNet()
        net, optimizer = alone.setup(model, make_optimizer(model, TrainingConfig()))

        seconds = median(partial(step, alone, net, optimizer, batch), runs)
        print(
            f"training, {precision}: {1 / seconds:.2f} steps/s "
            f"({1 / (seconds + making):.2f} with the making of the batch)"
        )


def peak():
    """Return the peak memory of this process in MB (Linux: what getrusage says there also counts
    the process that started it)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def memory(side, what):
    "Print the peak memory of this process, which only segments one frame."
    frame = frame_of(side).astype(np.uint16)
    base = peak()
    network = Network(diameter=24, device="cpu")
    if what == "maps":
        network_maps(network, frame)
    else:
        network.segment(frame)
    print(f"{side}² frame, {what}: peak {peak():.0f} MB ({base:.0f} MB of it before the network)")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--memory",
        nargs=2,
        metavar=("SIDE", "WHAT"),
        help="only this, in this process: maps or segment",
    )
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.memory:
        return memory(int(options.memory[0]), options.memory[1])
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}"
    )
    tiles(options.runs), frames(options.runs), steps(options.runs)
    for what in ("maps", "segment"):
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "--memory", "4096", what], check=True)


if __name__ == "__main__":
    main()
