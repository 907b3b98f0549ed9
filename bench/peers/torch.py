"""PyTorch without autograd: in place or `out=`, else the operator it differentiates by.

Operators without a true `out=` (mish and hard_swish backward, dropout) allocate.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C import _nn

from peers import Array, Call


def start_thread() -> None:
    """The mode holds for the thread that enters it."""
    torch.inference_mode().__enter__()


start_thread()
aten = torch.ops.aten
SELU = 1.6732632423543772, 1.0507009873554805
MEAN = None, 1, -100  # of nll_loss: no weights, mean, no label ignored
SHORT_ROW = 16


def facts() -> dict[str, Any]:
    capability = torch.backends.cpu.get_cpu_capability()
    return {"capability": capability, "threads": torch.get_num_threads()}


def tensor(array: Array) -> Tensor:
    """Of torch's own memory; as NumPy lays it out, transposed too."""
    return torch.from_numpy(array).clone(memory_format=torch.preserve_format)


def softsign(x: Tensor, y: Tensor) -> Tensor:
    torch.abs(x, out=y)
    return torch.div(x, y.add_(1), out=y)


def quick_gelu(x: Tensor, y: Tensor) -> Tensor:
    return torch.mul(x, 1.702, out=y).sigmoid_().mul_(x)


def tanh_shrink(x: Tensor, y: Tensor) -> Tensor:
    torch.tanh(x, out=y)
    return torch.sub(x, y, out=y)


def squareplus(x: Tensor, y: Tensor) -> Tensor:
    return torch.mul(x, x, out=y).add_(4).sqrt_().add_(x).mul_(0.5)


def smooth_clip(x: Tensor, y: Tensor) -> Tensor:
    root = torch.div(x, 3, out=y).square_().add_(1).sqrt_()
    return torch.div(x, root, out=y)


FORWARD: dict[str, Callable[[Tensor, Tensor], Call]] = {
    "identity": lambda x, y: partial(y.copy_, x),
    "sigmoid": lambda x, y: partial(torch.sigmoid, x, out=y),
    "log_sigmoid": lambda x, y: partial(_nn.log_sigmoid, x, out=y),
    "tanh": lambda x, y: partial(torch.tanh, x, out=y),
    "relu": lambda x, y: partial(torch.clamp_min, x, 0, out=y),
    "relu6": lambda x, y: partial(torch.clamp, x, 0, 6, out=y),
    "leaky_relu": lambda x, y: partial(_nn.leaky_relu, x, 0.01, out=y),
    "elu": lambda x, y: partial(_nn.elu, x, out=y),
    "selu": lambda x, y: partial(_nn.elu, x, *SELU, out=y),
    "celu": lambda x, y: partial(_nn.elu, x, out=y),
    "softplus": lambda x, y: partial(_nn.softplus, x, out=y),
    "softsign": lambda x, y: partial(softsign, x, y),
    "silu": lambda x, y: partial(_nn.silu, x, out=y),
    "gelu": lambda x, y: partial(_nn.gelu, x, out=y),
    "gelu_tanh": lambda x, y: partial(_nn.gelu, x, approximate="tanh", out=y),
    "quick_gelu": lambda x, y: partial(quick_gelu, x, y),
    "mish": lambda x, y: partial(_nn.mish, x, out=y),
    "hard_sigmoid": lambda x, y: partial(_nn.hardsigmoid, x, out=y),
    "hard_swish": lambda x, y: partial(_nn.hardswish, x, out=y),
    "hard_tanh": lambda x, y: partial(torch.clamp, x, -1, 1, out=y),
    "tanh_shrink": lambda x, y: partial(tanh_shrink, x, y),
    "soft_shrink": lambda x, y: partial(_nn.softshrink, x, 0.5, out=y),
    "hard_shrink": lambda x, y: partial(torch.hardshrink, x, 0.5, out=y),
    "squareplus": lambda x, y: partial(squareplus, x, y),
    "smooth_clip": lambda x, y: partial(smooth_clip, x, y),
    "softmax": lambda x, y: partial(torch.softmax, x, 1, out=y),
    "log_softmax": lambda x, y: partial(torch.log_softmax, x, 1, out=y),
}


def into(dx: Tensor, operator: Any, *arguments: Any, **options: Any) -> Call:
    return partial(operator.grad_input, *arguments, grad_input=dx, **options)


BACKWARD: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Call]] = {
    "identity": lambda dy, x, y, dx: partial(dx.copy_, dy),
    "sigmoid": lambda dy, x, y, dx: into(dx, aten.sigmoid_backward, dy, y),
    "log_sigmoid": lambda dy, x, y, dx: into(
        dx, aten.log_sigmoid_backward, dy, x, aten.log_sigmoid_forward(x)[1]
    ),
    "tanh": lambda dy, x, y, dx: into(dx, aten.tanh_backward, dy, y),
    "relu": lambda dy, x, y, dx: into(dx, aten.threshold_backward, dy, y, 0),
    "relu6": lambda dy, x, y, dx: into(dx, aten.hardtanh_backward, dy, y, 0, 6),
    "leaky_relu": lambda dy, x, y, dx: into(
        dx, aten.leaky_relu_backward, dy, y, 0.01, True
    ),
    "elu": lambda dy, x, y, dx: into(dx, aten.elu_backward, dy, 1, 1, 1, True, y),
    "selu": lambda dy, x, y, dx: into(dx, aten.elu_backward, dy, *SELU, 1, True, y),
    "celu": lambda dy, x, y, dx: into(dx, aten.elu_backward, dy, 1, 1, 1, True, y),
    "softplus": lambda dy, x, y, dx: into(dx, aten.softplus_backward, dy, x, 1, 20),
    "silu": lambda dy, x, y, dx: into(dx, aten.silu_backward, dy, x),
    "gelu": lambda dy, x, y, dx: into(dx, aten.gelu_backward, dy, x),
    "gelu_tanh": lambda dy, x, y, dx: into(
        dx, aten.gelu_backward, dy, x, approximate="tanh"
    ),
    "mish": lambda dy, x, y, dx: partial(aten.mish_backward.default, dy, x),
    "hard_sigmoid": lambda dy, x, y, dx: into(dx, aten.hardsigmoid_backward, dy, x),
    "hard_swish": lambda dy, x, y, dx: partial(aten.hardswish_backward.default, dy, x),
    "hard_tanh": lambda dy, x, y, dx: into(dx, aten.hardtanh_backward, dy, y, -1, 1),
    "soft_shrink": lambda dy, x, y, dx: into(dx, aten.softshrink_backward, dy, x, 0.5),
    "hard_shrink": lambda dy, x, y, dx: into(dx, aten.hardshrink_backward, dy, x, 0.5),
    "softmax": lambda dy, x, y, dx: partial(
        aten._softmax_backward_data.out, dy, y, 1, dy.dtype, grad_input=dx
    ),
    "log_softmax": lambda dy, x, y, dx: partial(
        aten._log_softmax_backward_data.out, dy, y, 1, dy.dtype, out=dx
    ),
}


def forward(name: str, x: Array) -> Call | None:
    form, ours = FORWARD.get(name), tensor(x)
    return form and form(ours, torch.empty_like(ours))


def backward(name: str, dy: Array, x: Array, y: Array) -> Call | None:
    form, ours = BACKWARD.get(name), tensor(dy)
    return form and form(ours, tensor(x), tensor(y), torch.empty_like(ours))


def dense(x: Array, kernel: Array, bias: Array) -> Call:
    """With a kernel of in x out, `addmm` takes up to a fifth less than `linear`."""
    ours, weight, offset = tensor(x), tensor(kernel), tensor(bias)
    y = ours.new_empty(len(x), len(bias))
    return lambda: torch.addmm(offset, ours, weight, out=y).relu_()


def dense_backward(dy: Array, x: Array, kernel: Array, y: Array) -> Call:
    gradient, ours, weight, saved = map(tensor, (dy, x, kernel.T.copy(), y))
    dz, dx, dweight = map(torch.empty_like, (gradient, ours, weight))
    dbias = torch.empty_like(dz[0])
    relu_backward = into(dz, aten.threshold_backward, gradient, saved, 0)

    def call() -> tuple[Tensor, ...]:
        relu_backward()
        torch.mm(dz, weight, out=dx)
        torch.mm(dz.t(), ours, out=dweight)
        torch.sum(dz, 0, out=dbias)
        return dx, dweight.t(), dbias

    return call


def dense_both(dy: Array, x: Array, kernel: Array, bias: Array) -> Call:
    """The one function that is differentiated by autograd, as a layer is."""
    with torch.inference_mode(False):
        gradient = tensor(dy)
        inputs = [tensor(a).requires_grad_() for a in (x, kernel.T.copy(), bias)]

    def call() -> tuple[Tensor, ...]:
        with torch.inference_mode(False):
            y = torch.relu_(_nn.linear(*inputs))
            dx, dweight, dbias = torch.autograd.grad(y, inputs, gradient)
            return y.detach(), dx, dweight.t(), dbias

    return call


def dense_dropout(rate: float, x: Array, kernel: Array, bias: Array) -> Call:
    layer = dense(x, kernel, bias)
    return lambda: torch.native_dropout(layer(), rate, True)[0]


def matmul(a: Array, b: Array) -> Call:
    left, right = tensor(a), tensor(b)
    return partial(torch.mm, left, right, out=left.new_empty(len(a), b.shape[1]))


def dropout(rate: float, x: Array) -> Call:
    ours = tensor(x)
    return lambda: torch.native_dropout(ours, rate, True)[0]


def dropout_backward(rate: float, dy: Array, kept: Array) -> Call:
    backward = aten.native_dropout_backward.default
    return partial(backward, tensor(dy), tensor(kept), 1 / (1 - rate))


def softmax_cross_entropy(logits: Array, labels: Array) -> Call:
    """What autograd calls; short rows, slow in log_softmax, in passes of their own."""
    x, t, dx = tensor(logits), tensor(labels), tensor(logits)
    loss, count, one = (x.new_ones(()) for _ in range(3))
    nll_loss, rows = aten.nll_loss_forward.output, len(x)
    if x.shape[1] <= SHORT_ROW:
        norm, places = x.new_empty(rows, 1), t[:, None]
        shares = torch.full_like(norm, -1 / rows)

        def call() -> tuple[Tensor, Tensor]:
            torch.logsumexp(x, 1, True, out=norm)
            torch.sub(x, norm, out=dx)
            nll_loss(dx, t, *MEAN, output=loss, total_weight=count)
            return loss, dx.exp_().mul_(1 / rows).scatter_add_(1, places, shares)

        return call
    y, dy = torch.empty_like(x), torch.empty_like(x)
    into_dy = into(dy, aten.nll_loss_backward, one, y, t, *MEAN, count)
    into_dx = BACKWARD["log_softmax"](dy, x, y, dx)

    def call_long() -> tuple[Tensor, Tensor]:
        torch.log_softmax(x, 1, out=y)
        nll_loss(y, t, *MEAN, output=loss, total_weight=count)
        into_dy()
        return loss, into_dx()

    return call_long


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Call:
    """The gradient is autograd's formula, in place."""
    x, t = tensor(logits), tensor(targets)
    dx, share = torch.empty_like(x), 1 / x.numel()
    loss = torch.binary_cross_entropy_with_logits

    def call() -> tuple[Tensor, Tensor]:
        value = loss(x, t, None, None, 1)
        return value, torch.sigmoid(x, out=dx).sub_(t).mul_(share)

    return call


def squared_error(outputs: Array, targets: Array) -> Call:
    """Two passes and a product beat mse_loss and its backward, which subtract each."""
    y, t = tensor(outputs).view(-1), tensor(targets).view(-1)
    difference, size = torch.empty_like(y), y.numel()
    gradient = difference.view(outputs.shape)

    def call() -> tuple[Tensor, Tensor]:
        torch.sub(y, t, out=difference)
        loss = torch.dot(difference, difference).mul_(1 / size)
        difference.mul_(2 / size)
        return loss, gradient

    return call


def sgd(momentum: float, w: Array, dw: Array) -> Call:
    """The operator of torch.optim.SGD(fused=True), a tenth of the time of its step."""
    weights, gradient = tensor(w), tensor(dw)
    if not momentum:
        return partial(weights.sub_, gradient, alpha=0.01)
    return updated(
        torch._fused_sgd_,
        weights,
        [gradient],
        [torch.zeros_like(weights)],
        lr=0.01,
        momentum=momentum,
        dampening=0.0,
        nesterov=False,
        is_first_step=False,
    )


def adam(w: Array, dw: Array) -> Call:
    """The operator of torch.optim.Adam(fused=True), whose step counts like this."""
    weights, step = tensor(w), torch.zeros(())
    update = updated(
        torch._fused_adam_,
        weights,
        [tensor(dw)],
        [torch.zeros_like(weights)],
        [torch.zeros_like(weights)],
        [],
        [step],
        lr=1e-3,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        amsgrad=False,
    )

    def call() -> Tensor:
        step.add_(1)
        return update()

    return call


def updated(operator: Any, weights: Tensor, *lists: Any, **options: Any) -> Call:
    update = partial(
        operator, [weights], *lists, weight_decay=0.0, maximize=False, **options
    )

    def call() -> Tensor:
        update()
        return weights

    return call


def layer(name: str, dy: Array, x: Array, *parameters: Array) -> Call:
    """The operators that autograd calls, both ways."""
    g, ours = tensor(dy), tensor(x)
    own, *more = map(tensor, parameters)
    y, dx, s = (torch.empty_like(ours) for _ in range(3))
    if name == "scale":

        def scale() -> tuple[Tensor, ...]:
            torch.mul(ours, own, out=y)
            torch.mul(g, own, out=dx)
            return y, dx, torch.mul(g, ours, out=s).sum(0)

        return scale
    if name == "prelu":

        def prelu() -> tuple[Tensor, ...]:
            found = aten._prelu_kernel(ours, own)
            down, dslope = aten._prelu_kernel_backward(g, ours, own)
            return found, down, dslope.sum(0)

        return prelu
    if name == "mixed":
        gelu_backward = into(dx, aten.gelu_backward, g, ours)

        def mixed() -> tuple[Tensor, ...]:
            _nn.gelu(ours, out=y)
            gelu_backward()
            torch.lerp(g, dx, own, out=dx)
            dshare = torch.sub(y, ours, out=s).mul_(g).sum(0)
            return torch.lerp(ours, y, own, out=y), dx, dshare

        return mixed
    (beta,), shape, all_of = more, ours.shape[1:], (True, True, True)
    if name == "layer_norm":

        def layer_norm() -> tuple[Tensor, ...]:
            found, *saved = aten.native_layer_norm(ours, shape, own, beta, 1e-5)
            back = aten.native_layer_norm_backward
            return found, *back(g, ours, shape, *saved, own, beta, all_of)

        return layer_norm
    kept = torch.zeros_like(own), torch.ones_like(own)

    def batch_norm() -> tuple[Tensor, ...]:
        found, *saved = aten.native_batch_norm(ours, own, beta, *kept, True, 0.01, 1e-3)
        back = aten.native_batch_norm_backward
        return found, *back(g, ours, own, *kept, *saved, True, 1e-3, all_of)

    return batch_norm
