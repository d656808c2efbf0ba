"""Layers under Keras's names with Keras's keywords; each is an `nn.Module` that declares what it penalizes."""

from penalize.layers.convolution import Conv1D, Conv2D, Conv3D
from penalize.layers.dense import Dense
from penalize.layers.input import Input, InputLayer
from penalize.layers.layer import Layer
from penalize.layers.pooling import MaxPooling2D
from penalize.layers.simple import Activation, ActivityRegularization, Dropout, Flatten

Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
MaxPool2D = MaxPooling2D

__all__ = [
    "Activation",
    "ActivityRegularization",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "Convolution1D",
    "Convolution2D",
    "Convolution3D",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "MaxPool2D",
    "MaxPooling2D",
]
