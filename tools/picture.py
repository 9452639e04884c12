"""Write nbs/images/tracks.gif, the picture of the front page: the course's movie and true tracks.

Smooth and in few grays, to stay small.
"""

from pathlib import Path

from scipy.ndimage import gaussian_filter

from celltrack.show import save_animation
from celltrack.simulate import course_movie

PATH = Path(__file__).resolve().parent.parent / "nbs/images/tracks.gif"


def few_grays(frame, step=150):
    "Return the frame smoothed and rounded: long runs of one gray make a small GIF."
    return (gaussian_filter(frame.astype(float), 2) / step).round() * step


if __name__ == "__main__":
    movie, truth = course_movie()
    save_animation(movie.map(few_grays), truth, PATH)
    print(f"{PATH.name}: {PATH.stat().st_size // 1000} KB")
