"""Write nbs/images/road.webp, the moving picture of the front page: movie, masks, tracks, lineage.

All four are what `celltrack.track_movie` makes of the course's movie, frame by frame.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from PIL import Image
from scipy.ndimage import gaussian_filter

from celltrack.pipeline import track_movie
from celltrack.show import lineage_tree, overlay, track_colors
from celltrack.simulate import course_movie

PATH = Path(__file__).resolve().parent.parent / "nbs/images/road.webp"
DARK = "#1e1e1e"
FAMILIES = 9  # in the tree: those with most tracks
TRAIL = 8  # frames
TITLES = (
    "the movie",
    "masks: where cells are",
    "tracks: who is who",
    "lineage: who is whose child",
)


def empty_figure():
    "Return (figure, its four axes): white titles on dark, no ticks."
    style = {"figure.facecolor": DARK, "axes.facecolor": DARK, "text.color": "w", "font.size": 12}
    with matplotlib.rc_context(style):
        figure, axes = plt.subplots(2, 2, figsize=(6, 6.3), dpi=100)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.955, wspace=0.02, hspace=0.075)
    for ax, title in zip(axes.flat, TITLES, strict=True):
        ax.set_title(title, color="w", pad=4)
        ax.axis("off")
    return figure, axes.ravel()


def smooth(frame):
    "Return a frame with less noise: it takes less room."
    return gaussian_filter(np.asarray(frame, float), 1)


def draw_tracks(ax, tracks, t):
    "Draw the last steps of the tracks that are there at t."
    ax.collections[0].remove() if ax.collections else None
    cells = tracks.cells[tracks.cells.frame.between(t - TRAIL, t)]
    alive = cells[cells.frame == t].track
    paths = {k: rows[["x", "y"]] for k, rows in cells[cells.track.isin(alive)].groupby("track")}
    ax.add_collection(LineCollection([*paths.values()], colors=track_colors([*paths]), lw=2))


def animation():
    "Yield the frames of the picture as RGB images."
    movie, _ = course_movie()
    tracks = track_movie(movie)
    labels = tracks.relabelled()
    limits = tuple(np.percentile(smooth(movie[0]), [1, 99.8]))
    figure, (raw, masks, linked, tree) = empty_figure()
    black = np.zeros((*movie.shape[1:], 3), np.uint8)
    views = [ax.imshow(black) for ax in (raw, masks, linked)]
    lineage_tree(tracks, tree, largest=FAMILIES, ids=False)
    tree.set(xlabel="")
    curtain = tree.axvspan(0, len(movie), color=DARK, zorder=9)
    for t in range(len(movie)):
        frame = smooth(movie[t])
        inside = np.where(labels[t][..., None] > 0, (120, 170, 220), black).astype(np.uint8)
        border = (overlay(frame * 0, labels[t], (0, 1)) > 0).any(-1)
        inside[border] = (20, 30, 40)
        pictures = overlay(frame, None, limits), inside, overlay(frame, labels[t], limits)
        for view, picture in zip(views, pictures, strict=True):
            view.set_data(picture)
        draw_tracks(linked, tracks, t)
        curtain.set_bounds(t + 0.3, -2, len(movie), 1000)
        figure.canvas.draw()
        yield Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])


if __name__ == "__main__":
    matplotlib.use("agg")
    first, *others = animation()
    waits = [125] * len(others) + [2000]  # milliseconds; the last one is for looking at the tree
    options = {"duration": waits, "loop": 0, "quality": 45, "method": 6}
    first.save(PATH, save_all=True, append_images=others, **options)
    print(f"{PATH.name}: {PATH.stat().st_size // 1000} KB")
