from collections.abc import Callable, Sequence
from inspect import Signature
from typing import Any, TypeVar

from numpy import float64, ufunc, uint8, uint32
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

_F = TypeVar("_F", bound=Callable[..., Any])

__version__: str
compiler: str
_C_API: object

@disjoint_base
class Function:
    __signature__: Signature | None  # of objects; their type has none
    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    @property
    def ufunc(self) -> ufunc: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@disjoint_base
class ActivationFunction(Function):
    @property
    def name(self) -> str: ...
    @property
    def formula(self) -> str: ...
    @property
    def saves(self) -> str: ...
    @property
    def parameters(self) -> dict[str, float]: ...
    @property
    def promises(self) -> dict[str, tuple[float, float]]: ...
    @property
    def initializer(self) -> str: ...
    @property
    def loss(self) -> str | None: ...
    @property
    def backward(self) -> Function: ...
    @property
    def derivative(self) -> Function: ...
    def using(self, **parameter: float) -> ActivationFunction: ...

class PackedKernel:
    __signature__: Signature
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def precision(self) -> str: ...
    @property
    def nbytes(self) -> int: ...

def get_activation(value: str | ActivationFunction | None) -> ActivationFunction: ...
def compiled(declaration: _F) -> _F: ...
def dropout(
    x: ArrayLike,
    rate: float,
    seed: int,
    stream: int,
    offset: int,
    mode: str,
    gradient: bool,
) -> NDArray[Any]: ...
def gaussian_noise(
    x: ArrayLike, stddev: float, seed: int, stream: int, offset: int = 0
) -> NDArray[Any]: ...
def dropout_mask(size: int, rate: float, seed: int, offset: int) -> NDArray[uint8]: ...
def penalty(
    w: NDArray[Any], dw: NDArray[Any] | None, l1: float, l2: float, weight: float
) -> float: ...

LAYERS: tuple[str, ...]
LOSSES: tuple[str, ...]
OPTIMIZERS: tuple[str, ...]

def check_sparse(name: str, rows: Any) -> None: ...

class Network:
    def __init__(
        self,
        layers: list[tuple[str, dict[str, Any]]],
        features: int,
        seed: int,
        parameters: NDArray[Any],
        gradient: NDArray[Any],
        first: int = 0,
    ) -> None: ...
    def takes(
        self,
        x: Any,
        y: Any,
        weights: Any,
        loss: tuple[Any, ...],
        bounds: tuple[float, float],
    ) -> bool: ...
    def forward(
        self,
        x: ArrayLike,
        training: bool,
        step: int,
        first_row: int,
        shares: NDArray[Any] | None,
    ) -> NDArray[Any]: ...
    def backward(
        self,
        x: ArrayLike,
        output_gradient: ArrayLike,
        training: bool,
        step: int,
        first_row: int,
        fill: bool,
        accumulate: bool,
        down: bool,
        shares: NDArray[Any] | None,
    ) -> NDArray[Any] | None: ...
    def input_gradient(
        self,
        x: ArrayLike,
        y: ArrayLike,
        weights: ArrayLike | None,
        loss: tuple[Any, ...],
        logits: bool,
        training: bool,
        step: int,
        shares: NDArray[Any] | None,
    ) -> NDArray[Any]: ...
    def train(
        self,
        x: Any,
        y: ArrayLike,
        weights: ArrayLike | None,
        rows: NDArray[Any] | None,
        batch_size: int,
        loss: tuple[Any, ...],
        logits: bool,
        optimizer: tuple[Any, ...],
        rates: NDArray[Any],
        decays: NDArray[Any] | None,
        shares: NDArray[Any] | None,
        state: NDArray[Any],
        average: NDArray[Any] | None,
        ema: float,
        step: int,
        update: int,
        loss_before: float,
        correct_before: float,
        penalty_before: float,
        precision: str | None,
    ) -> tuple[float, float, float, int, int, bool, BaseException | None]: ...
    def gradients(
        self,
        x: Any,
        y: ArrayLike,
        weights: ArrayLike | None,
        loss: tuple[Any, ...],
        logits: bool,
        weight: float,
        step: int,
        first_row: int,
        accumulate: bool,
        shares: NDArray[Any] | None,
    ) -> tuple[float, float, float]: ...
    def shard_gradients(
        self,
        x: Any,
        y: ArrayLike,
        weights: ArrayLike | None,
        loss: tuple[Any, ...],
        logits: bool,
        batch: int,
        borders: Sequence[int],
        step: int,
        shares: NDArray[Any] | None,
    ) -> list[tuple[float, float, float]]: ...
    def adds_shards(self, rows: int) -> bool: ...
    def is_narrow(self, rows: int, precision: str) -> bool: ...
    def release(self) -> None: ...
    def apply(
        self, optimizer: tuple[Any, ...], rate: float, state: NDArray[Any], update: int
    ) -> bool: ...
    def apply_part(
        self,
        optimizer: tuple[Any, ...],
        rate: float,
        state: NDArray[Any],
        update: int,
        begin: int,
        end: int,
    ) -> None: ...
    def updates_apart(self, optimizer: tuple[Any, ...]) -> bool: ...
    def predict(
        self,
        x: Any,
        out: NDArray[Any] | None,
        chunk: int,
        precision: str | None = None,
    ) -> NDArray[Any]: ...
    def evaluate(
        self,
        x: Any,
        y: ArrayLike,
        weights: ArrayLike | None,
        loss: tuple[Any, ...],
        logits: bool,
        chunk: int,
    ) -> tuple[float, float, float]: ...
    def sample(
        self,
        x: ArrayLike,
        samples: int,
        seed: int,
        chunk: int,
        shares: NDArray[Any] | None,
    ) -> tuple[NDArray[Any], NDArray[Any]]: ...

def sorted_order(words: NDArray[uint32]) -> NDArray[Any]: ...
def random_seed() -> int: ...
def random_words(size: int, seed: int, stream: int) -> NDArray[uint32]: ...
def normal_quantile(p: NDArray[Any]) -> NDArray[float64]: ...  # p in [1e-11, 1 - 1e-11]
def loss(
    core: tuple[str, float, float],
    outputs: NDArray[Any],
    targets: NDArray[Any],
    scale: float | None,
    weights: NDArray[Any] | None = None,
    gradient: NDArray[Any] | None = None,
    /,
) -> tuple[float, float]: ...
def update(
    core: tuple[Any, ...],
    w: NDArray[Any],
    dw: NDArray[Any],
    state: NDArray[Any],
    rate: float,
    step: int,
    /,
) -> None: ...
def follow(w: NDArray[Any], mean: NDArray[Any], share: float) -> None: ...
def clip(core: tuple[Any, ...], dw: NDArray[Any], sizes: Sequence[int]) -> float: ...
def limit_norms(kernel: NDArray[Any], limit: float) -> None: ...
def targets(available_only: bool = False) -> list[str]: ...
def get_target() -> str: ...
def set_target(name: str) -> None: ...
def has_bf16() -> bool: ...
def require_precision(precision: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def limit_threads(count: int) -> int: ...

# generated: begin
identity: ActivationFunction
sigmoid: ActivationFunction
log_sigmoid: ActivationFunction
tanh: ActivationFunction
relu: ActivationFunction
relu6: ActivationFunction
leaky_relu: ActivationFunction
elu: ActivationFunction
selu: ActivationFunction
celu: ActivationFunction
softplus: ActivationFunction
softsign: ActivationFunction
silu: ActivationFunction
gelu: ActivationFunction
gelu_tanh: ActivationFunction
quick_gelu: ActivationFunction
mish: ActivationFunction
hard_sigmoid: ActivationFunction
hard_swish: ActivationFunction
hard_tanh: ActivationFunction
tanh_shrink: ActivationFunction
soft_shrink: ActivationFunction
hard_shrink: ActivationFunction
squareplus: ActivationFunction
smooth_clip: ActivationFunction
softmax: ActivationFunction
log_softmax: ActivationFunction
__all__ = [
    "identity",
    "sigmoid",
    "log_sigmoid",
    "tanh",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "softplus",
    "softsign",
    "silu",
    "gelu",
    "gelu_tanh",
    "quick_gelu",
    "mish",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "tanh_shrink",
    "soft_shrink",
    "hard_shrink",
    "squareplus",
    "smooth_clip",
    "softmax",
    "log_softmax",
]
# generated: end
