"""Packaging of celltrack; every value comes from settings.ini."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(root / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]

EXTRA = "_requirements"
PYTHONS = ["3.11", "3.12", "3.13"]

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    keywords=cfg["keywords"],
    long_description=(root / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    project_urls={
        "Documentation": f"{cfg['doc_host']}{cfg['doc_baseurl']}",
        "Source": cfg["git_url"],
        "Issues": f"{cfg['git_url']}/issues",
        "Changes": f"{cfg['git_url']}/blob/{cfg['branch']}/CHANGELOG.md",
    },
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        f"Intended Audience :: {cfg['audience']}",
        "Intended Audience :: Education",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: {version}" for version in PYTHONS),
        "Topic :: Scientific/Engineering :: Bio-Informatics",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["celltrack", "celltrack.*"]),
    package_data={"celltrack": cfg["package_data"].split()},
    python_requires=">=" + cfg["min_python"],
    install_requires=cfg["requirements"].split(),
    extras_require={
        key.removesuffix(EXTRA): value.split() for key, value in cfg.items() if key.endswith(EXTRA)
    },
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": ["celltrack = celltrack._modidx:d"],  # lets the docs link names to their pages
    },
    zip_safe=False,
)
