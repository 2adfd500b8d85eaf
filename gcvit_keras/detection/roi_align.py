"""RoIAlign (Mask R-CNN, arXiv 1703.06870, section 3), sampled adaptively."""


def roi_align(features, boxes, output_size, stride):
    """Averages a feature map within the cells of a grid in each box.

    A box is divided by the stride and moved by half a pixel ("aligned"), cut
    into `output_size`**2 bins, and each bin averages ceil(size of the bin)
    bilinear samples per direction. A sample below -1 or above the size of the
    map counts as 0. A box without area gives zeros. Computes in float32 and
    carries the gradient of `features`.

    Args:
        features: Tensor `(batch, height, width, channels)`.
        boxes: Tensor `(batch, n, 4)` in pixels of the input.
        output_size: Bins per direction, an integer.
        stride: Pixels of the input per cell of the map, a number.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size, channels)`.
    """
    raise NotImplementedError


def box_levels(boxes, levels=4):
    """Chooses the level that a box is read from, by its size.

    floor(log2(sqrt(width * height) / 56 + 1e-6)), clamped (Feature Pyramid
    Networks, arXiv 1612.03144, section 4.2).

    Args:
        boxes: Tensor `(..., 4)`.
        levels: How many there are, an integer.

    Returns:
        Int32 tensor `(...)`, 0 (the finest) to `levels` - 1.
    """
    raise NotImplementedError


def pyramid_roi_align(features, boxes, output_size, strides=(4, 8, 16, 32)):
    """Reads each box from the level of its size, by `roi_align`.

    Args:
        features: List of tensors `(batch, height, width, channels)`, from
            fine to coarse.
        boxes: Tensor `(batch, n, 4)` in pixels of the input.
        output_size: Bins per direction, an integer.
        strides: Pixels of the input per cell of each map.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size, channels)`.
    """
    raise NotImplementedError
