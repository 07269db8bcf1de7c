"""Linear recurrences over a whole sequence at once: an associative scan, powers of a matrix, a long convolution.

The scan is that of Blelloch, Prefix Sums and Their Applications, 1990: neighbours are joined in pairs, the half as
long recurrence is solved in the same way, and what lies between is filled in; 2 × length joins in log(length) rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.errors import UsageError


def scan(decay: Tensor, drive: Tensor, before: Tensor | None = None) -> Tensor:
    """Every state of h_t = a_t h_{t-1} + b_t, in parallel.

    Parameters
    ----------
    decay:
        a, real or complex, (batch, length, …), or with a length of 1 where it is the same at all positions; its other
        dimensions may be 1 where they are the same.
    drive:
        b, (batch, length, …).
    before:
        h_{-1}, (batch, …); zeros if left out.

    Raises
    ------
    UsageError
        If there is no position, or the two have different lengths.

    Example
    -------
    >>> scan(torch.full((1, 1, 1), 0.5), torch.ones(1, 4, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500, 1.8750])
    """
    _check(decay, drive)
    if before is not None:
        first = decay[:, 0] * before + drive[:, 0]
        later = drive[:, 1:].to(first.dtype).expand(len(first), -1, *first.shape[1:])
        drive = torch.cat([first.unsqueeze(1), later], 1)
    return _scan(decay, drive)


def scan_by_steps(decay: Tensor, drive: Tensor, before: Tensor | None = None) -> Tensor:
    """What `scan` gives, one position after another."""
    _check(decay, drive)
    decay = decay.expand(-1, drive.shape[1], *decay.shape[2:])
    states = []
    for a, b in zip(decay.unbind(1), drive.unbind(1), strict=True):
        before = b * torch.ones_like(a) if before is None else a * before + b
        states.append(before)
    return torch.stack(states, 1)


def _check(decay: Tensor, drive: Tensor) -> None:
    if decay.dim() != drive.dim() or not drive.shape[1] or decay.shape[1] not in (1, drive.shape[1]):
        raise UsageError(
            f"a scan was given decays {tuple(decay.shape)} for {tuple(drive.shape)}: expected as many dimensions, "
            "at least one position, and one decay for each position or one for all"
        )


def _scan(decay: Tensor, drive: Tensor) -> Tensor:
    length = drive.shape[1]
    if length == 1:
        return drive * torch.ones_like(decay)
    pairs = length // 2
    constant = decay.shape[1] == 1
    left = decay if constant else decay[:, 0 : 2 * pairs : 2]
    right = decay if constant else decay[:, 1::2]
    odd = _scan(left * right, right * drive[:, 0 : 2 * pairs : 2] + drive[:, 1::2])
    later = decay if constant else decay[:, 2::2]
    even = later * odd[:, : (length - 1) // 2] + drive[:, 2::2]
    even = torch.cat([(drive[:, :1] * torch.ones_like(decay[:, :1])).to(even.dtype), even], 1)
    if length % 2:
        joined = torch.stack([even[:, :-1], odd], 2).flatten(1, 2)
        return torch.cat([joined, even[:, -1:]], 1)
    return torch.stack([even, odd], 2).flatten(1, 2)


def krylov(matrix: Tensor, vector: Tensor, length: int) -> Tensor:
    """The vectors v, Av, A²v, …, by doubling: matrices (…, n, n) and vectors (…, n) give (…, n, length).

    Example
    -------
    >>> krylov(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([1.0, 0.0]), 3)
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if length < 1:
        raise UsageError(f"{length} powers were asked for, expected 1 or more")
    found = vector.unsqueeze(-1)
    while found.shape[-1] < length:
        wanted = min(found.shape[-1], length - found.shape[-1])
        found = torch.cat([found, matrix @ found[..., :wanted]], -1)
        if found.shape[-1] < length:
            matrix = matrix @ matrix
    return found


def convolve(kernel: Tensor, signal: Tensor) -> Tensor:
    """The causal convolution y_t = Σ_s k_s u_{t-s} over the last dimension, as long as the signal, by FFT.

    Kernel and signal (…, length) broadcast against each other; a kernel may be shorter or longer than the signal.

    Example
    -------
    >>> convolve(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.0, 2.0])).round(decimals=4)
    tensor([1.0000, 0.5000, 2.0000])
    """
    length = signal.shape[-1]
    if not length or not kernel.shape[-1]:
        raise UsageError("a convolution was given no position: expected at least one of kernel and signal")
    kernel = kernel[..., :length]
    # Long enough that the end does not come round to the beginning, and a power of two, which every FFT is fast for.
    size = 1 << (length + kernel.shape[-1] - 2).bit_length()
    found: Tensor = torch.fft.irfft(torch.fft.rfft(kernel, size) * torch.fft.rfft(signal, size), size)
    return found[..., :length]
