"""What `import celltrack as ct` offers, for editors, type checkers and the lazy import itself."""

from .convert import read_tracks as read_tracks
from .convert import write_tracks as write_tracks
from .files import read_movie as read_movie
from .measure import measure_movie as measure_movie
from .movie import Movie as Movie
from .pipeline import track_movie as track_movie
from .score.overlap import Scores as Scores
from .score.panel import score_tracks as score_tracks
from .segment.choose import segment_movie as segment_movie
from .show import show_movie as show_movie
from .simulate import simulate_movie as simulate_movie
from .tracks import Tracks as Tracks

__version__: str
