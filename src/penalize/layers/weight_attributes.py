"""The attributes that a weight gives a layer: itself in Keras's layout, its initializer, regularizer and constraint."""

from __future__ import annotations

from penalize.layers.weights import ConstraintOf, InitializerOf, KerasView, RegularizerOf

__all__ = [
    "WithBias",
    "WithDepthwiseKernel",
    "WithEmbeddings",
    "WithGammaAndBeta",
    "WithKernel",
    "WithPointwiseKernel",
    "WithRecurrentKernel",
]


class WithKernel:
    """A layer with `kernel`."""

    kernel = KerasView("kernel")
    kernel_initializer = InitializerOf("kernel")
    kernel_regularizer = RegularizerOf("kernel")
    kernel_constraint = ConstraintOf("kernel")


class WithRecurrentKernel:
    """A layer with `recurrent_kernel`."""

    recurrent_kernel = KerasView("recurrent_kernel")
    recurrent_initializer = InitializerOf("recurrent_kernel")
    recurrent_regularizer = RegularizerOf("recurrent_kernel")
    recurrent_constraint = ConstraintOf("recurrent_kernel")


class WithDepthwiseKernel:
    """A layer with `depthwise_kernel`."""

    depthwise_kernel = KerasView("depthwise_kernel")
    depthwise_initializer = InitializerOf("depthwise_kernel")
    depthwise_regularizer = RegularizerOf("depthwise_kernel")
    depthwise_constraint = ConstraintOf("depthwise_kernel")


class WithPointwiseKernel:
    """A layer with `pointwise_kernel`."""

    pointwise_kernel = KerasView("pointwise_kernel")
    pointwise_initializer = InitializerOf("pointwise_kernel")
    pointwise_regularizer = RegularizerOf("pointwise_kernel")
    pointwise_constraint = ConstraintOf("pointwise_kernel")


class WithBias:
    """A layer with `bias`, whose parameter has that name and Keras's layout."""

    bias_initializer = InitializerOf("bias")
    bias_regularizer = RegularizerOf("bias")
    bias_constraint = ConstraintOf("bias")


class WithEmbeddings:
    """A layer with `embeddings`."""

    embeddings = KerasView("embeddings")
    embeddings_initializer = InitializerOf("embeddings")
    embeddings_regularizer = RegularizerOf("embeddings")
    embeddings_constraint = ConstraintOf("embeddings")


class WithGammaAndBeta:
    """A layer with `gamma` and `beta`."""

    gamma = KerasView("gamma")
    gamma_initializer = InitializerOf("gamma")
    gamma_regularizer = RegularizerOf("gamma")
    gamma_constraint = ConstraintOf("gamma")
    beta = KerasView("beta")
    beta_initializer = InitializerOf("beta")
    beta_regularizer = RegularizerOf("beta")
    beta_constraint = ConstraintOf("beta")
