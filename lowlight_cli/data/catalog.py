"""The data sets that papers report on: what each is, how many pictures it has, and how it is laid out.

The layouts are those of the published archives and of the repositories most used with them (RetinexNet, Retinexformer,
LLFormer, R2RNet, HVI-CIDNet, 3D-LUT). Letter case counts for none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lowlight_cli.data.scenes import RECORDS
from lowlight_cli.manifest import WeightFile


@dataclass(frozen=True)
class Layout:
    """Two folders of one split below the set's own folder: dark pictures, and their truth (empty: there is none)."""

    low: str
    high: str = ""
    bare: bool = False
    """So typical that it is taken without the set's own folder around it."""
    numbers: range | None = None
    """Only pictures whose first number lies in it."""

    def __str__(self) -> str:
        low, high = PurePosixPath(self.low), PurePosixPath(self.high)
        if low.parent == high.parent and self.high:
            return str(low.parent / f"{{{low.name},{high.name}}}")
        return f"{low} with {high}" if self.high else self.low or "pictures"


@dataclass(frozen=True)
class Split:
    """One split of a set."""

    layouts: tuple[Layout, ...]
    counts: tuple[int, ...] = ()
    """How many pictures were published; several where several copies go about, none for a set of the user's own."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What is known of one data set."""

    name: str
    title: str
    paper: str
    splits: Mapping[str, Split] = field(default_factory=dict)
    homes: tuple[str, ...] = ()
    """The set's own folder, by its usual names."""
    prefixes: tuple[str, str] = ("", "")
    """What stands before the name of a pair in the files of its dark picture and of its truth."""
    marker: str = ""
    """A file that must lie beside the folder of dark pictures, or beside the split's."""
    parts: tuple[str, ...] = ()
    """Sets that make up this one."""
    note: str = ""
    """What a reader of its figures must know."""
    archive: WeightFile | None = None
    """A zip on the Hub that holds it."""
    archive_folder: str = ""
    """The folder in the zip."""

    @property
    def truth(self) -> bool:
        """Whether its pictures have a well-lit partner."""
        layouts = [layout for split in self.splits.values() for layout in split.layouts]
        return all(SETS[part].truth for part in self.parts) if self.parts else any(layout.high for layout in layouts)


RETINEXNET = "Wei et al., Deep Retinex Decomposition for Low-Light Enhancement, BMVC 2018"
LOL_V2 = (
    "Yang et al., Sparse Gradient Regularized Deep Retinex Network for Robust Low-Light Image Enhancement, TIP 2021"
)
R2RNET = "Hai et al., R2RNet: Low-Light Image Enhancement via Real-Low to Real-Normal Network, JVCIR 2023"
FIVEK = (
    "Bychkovsky et al., Learning Photographic Global Tonal Adjustment with a Database of Input/Output Pairs, CVPR 2011"
)

LOL_HOMES = ("LOL", "LOLdataset", "lol_dataset", "LOL/lol_dataset", "LOL/LOLdataset", "LOLv1", "LOL-v1", "LOL_v1")
LOL_V2_HOMES = ("LOL-v2", "LOLv2", "LOL_v2", "LOL-v2/LOL-v2", "LOLv2/LOL-v2")
FIVEK_HOMES = (
    "MIT-Adobe-5K",
    "FiveK",
    "MIT-Adobe-FiveK",
    "mit_adobe_fivek",
    "MIT-Adobe-5K-512",
    "MIT-5K",
    "MIT5K",
    "adobe-fivek",
)
SHELVES = ("", "no_reference/", "unpaired/", "test_data/", "Test/", "low-light/")
"""Where the sets without truth lie together."""

LOL_ARCHIVE = WeightFile(
    role="archive",
    path="lol_dataset.zip",
    bytes=347_171_015,
    sha256="419fddc48958cd0f5599939ee0248852a37ceb8bb738c9b9525e95b25a89de9a",
    repo="datasets/geekyrakshit/LoL-Dataset",
    revision="bdef22d0f5803da8775114496a6689333265e157",
)
"""Size and sha256 are those of the Git LFS pointer that the repository's history shows for it."""


def _lol(folder: str, other: str) -> tuple[Layout, ...]:
    named = Layout(f"{folder}/low", f"{folder}/high", bare=True)
    return named, Layout(f"{other}/low", f"{other}/high"), Layout(f"{other}/input", f"{other}/target")


def _lol_v2(kind: str, split: str) -> tuple[Layout, ...]:
    names = (("Low", "Normal"), ("Low", "High"))
    return tuple(Layout(f"{kind}/{split}/{low}", f"{kind}/{split}/{high}", bare=True) for low, high in names)


def _own_v2(split: str) -> tuple[Layout, ...]:
    return Layout(f"{split}/Low", f"{split}/Normal"), Layout(f"{split}/Low", f"{split}/High")


def _lsrw(camera: str, *folders: str) -> tuple[Layout, ...]:
    return tuple(Layout(f"{folder}/{camera}/low", f"{folder}/{camera}/high", bare=True) for folder in folders)


def _fivek(split: str, numbers: range) -> tuple[Layout, ...]:
    names = (("input", "target"), ("low", "high"), ("input", "expertC"))
    flat = (("input", "expertC"), ("input", "expertC_gt"), ("input/JPG/480p", "expertC/JPG/480p"), ("raw", "c"))
    own = tuple(Layout(f"{split}/{low}", f"{split}/{high}") for low, high in names)
    return own + tuple(Layout(low, high, numbers=numbers) for low, high in flat)


def _no_reference(name: str, counts: tuple[int, ...], title: str, paper: str) -> DataSet:
    layouts = (Layout(""), Layout("low"), Layout("test/low"), Layout("input"), Layout(name))
    homes = tuple(f"{shelf}{name}" for shelf in SHELVES)
    return DataSet(name=name, title=title, paper=paper, homes=homes, splits={"test": Split(layouts, counts)})


_TABLE = (
    DataSet(
        name="LOL",
        title="LOL: real pairs, 600x400, mostly indoors",
        paper=RETINEXNET,
        homes=LOL_HOMES,
        splits={"test": Split(_lol("eval15", "test"), (15,)), "train": Split(_lol("our485", "train"), (485,))},
        archive=LOL_ARCHIVE,
        archive_folder="lol_dataset",
    ),
    DataSet(
        name="LOL-v2-real",
        title="LOL-v2, real pairs, 600x400",
        paper=LOL_V2,
        homes=(*LOL_V2_HOMES, "LOL-v2-real", "LOLv2-real", "LOL_v2_real"),
        prefixes=("low", "normal"),
        splits={
            "test": Split((*_lol_v2("Real_captured", "Test"), *_lol_v2("Real", "Test"), *_own_v2("Test")), (100,)),
            "train": Split((*_lol_v2("Real_captured", "Train"), *_lol_v2("Real", "Train"), *_own_v2("Train")), (689,)),
        },
    ),
    DataSet(
        name="LOL-v2-syn",
        title="LOL-v2, synthetic pairs from RAISE photos, 384x384",
        paper=LOL_V2,
        homes=(*LOL_V2_HOMES, "LOL-v2-syn", "LOL-v2-synthetic", "LOLv2-syn", "LOL_v2_syn"),
        splits={
            "test": Split((*_lol_v2("Synthetic", "Test"), *_own_v2("Test")), (100,)),
            "train": Split((*_lol_v2("Synthetic", "Train"), *_own_v2("Train")), (900,)),
        },
    ),
    DataSet(
        name="LSRW",
        title="LSRW: real pairs from a Huawei phone and a Nikon camera",
        paper=R2RNET,
        parts=("LSRW-Huawei", "LSRW-Nikon"),
        note="Some outdoor pairs are not aligned, as their authors say.",
    ),
    *(
        DataSet(
            name=f"LSRW-{camera}",
            title=f"LSRW, the {camera} part",
            paper=R2RNET,
            homes=("LSRW",),
            splits={
                "test": Split(_lsrw(camera, "Eval", "Test"), (test,)),
                "train": Split(_lsrw(camera, "Training data", "Train"), (train,)),
            },
            note="Some outdoor pairs are not aligned, as their authors say.",
        )
        for camera, test, train in (("Huawei", 30, 2450), ("Nikon", 20, 3150))
    ),
    DataSet(
        name="Brightening",
        title="Brightening Train: synthetic pairs from RAISE photos, 384x384",
        paper=RETINEXNET,
        homes=(
            "BrighteningTrain",
            "BrighteningTrain/BrighteningTrain",
            "Brightening",
            "LOL/BrighteningTrain",
            "LOL/syn",
        ),
        splits={"test": Split((Layout("low", "high"),), (1000,))},
        note="Published for training, without a split: all pairs are scored.",
    ),
    DataSet(
        name="synth",
        title="Pairs made by `lowlight synth`",
        paper="",
        marker=RECORDS,
        splits={
            "test": Split((Layout("test/low", "test/high", bare=True), Layout("low", "high", bare=True))),
            "train": Split((Layout("train/low", "train/high", bare=True),)),
        },
    ),
    DataSet(
        name="pairs",
        title="Your own pairs: low/ and high/ in the folder that --root names, or in its folder pairs/",
        paper="",
        homes=("pairs",),
        splits={"test": Split((Layout("low", "high", bare=True),))},
    ),
    DataSet(
        name="MIT-Adobe-5K",
        title="MIT-Adobe FiveK, retouched by expert C",
        paper=FIVEK,
        homes=FIVEK_HOMES,
        splits={
            "test": Split(_fivek("test", range(4501, 5001)), (500,)),
            "train": Split(_fivek("train", range(1, 4501)), (4500,)),
        },
        note="Where the copy has no split, numbers 4501 to 5000 are the test. Figures depend on how the RAW files were "
        "developed.",
    ),
    _no_reference("LIME", (10,), "LIME: very dark pictures", "Guo et al., LIME: Low-Light Image Enhancement, TIP 2017"),
    _no_reference(
        "DICM",
        (64, 69),  # of the original 69, most papers use 64
        "DICM: pictures of commercial cameras, not all of them dark",
        "Lee et al., Contrast Enhancement Based on Layered Difference Representation of 2D Histograms, TIP 2013",
    ),
    _no_reference(
        "NPE",
        (8, 84),  # without and with its extensions
        "NPE: outdoor pictures under uneven light",
        "Wang et al., Naturalness Preserved Enhancement Algorithm for Non-Uniform Illumination Images, TIP 2013",
    ),
    _no_reference(
        "MEF",
        (17,),
        "MEF: the dark pictures of exposure series",
        "Ma et al., Perceptual Quality Assessment for Multi-Exposure Image Fusion, TIP 2015",
    ),
    _no_reference(
        "VV",
        (24,),
        "VV: pictures that are dark and bright at once",
        "Vonikakis et al., On the Evaluation of Illumination Compensation Algorithms, MTA 2018",
    ),
)

SETS: Mapping[str, DataSet] = {data.name: data for data in _TABLE}
