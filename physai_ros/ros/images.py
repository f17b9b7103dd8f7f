"""Pictures: arrays in the rooms, `sensor_msgs/Image` outside. Uses cv_bridge where ROS brought it."""

from array import array

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from physai_ros.experience.pictures import decode_picture
from physai_ros.fusion.depth import depth_of, in_metres
from physai_ros.fusion.intrinsics import Intrinsics
from physai_ros.ros.stamps import header

try:
    from cv_bridge import CvBridge
except ImportError:  # there is no working wheel of it
    CvBridge = None

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


def image_message(rgb: np.ndarray, stamp: float, frame_id: str) -> Image:
    """The message of a picture (height, width, 3) uint8.

    Raises:
        ValueError: the array is of another shape or type.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"picture has shape {rgb.shape} and type {rgb.dtype}; expected (height, width, 3) uint8")
    return _message(rgb, "rgb8", stamp, frame_id)


def depth_message(depth: np.ndarray, stamp: float, frame_id: str) -> Image:
    """The message of depth (height, width) float32 [m], NaN where unknown, as REP 118 has it.

    Raises:
        ValueError: the array is of another shape or type.
    """
    if depth.dtype != np.float32 or depth.ndim != 2:
        raise ValueError(f"depth has shape {depth.shape} and type {depth.dtype}; expected (height, width) float32")
    return _message(depth, "32FC1", stamp, frame_id)


def rgb_array(image: Image) -> np.ndarray:
    """Picture (height, width, 3) uint8 of a message in any 8-bit colour encoding.

    Raises:
        ValueError: the encoding is not known or the data do not fit the size.
    """
    if image.encoding not in _CHANNELS:
        raise ValueError(f"image encoding '{image.encoding}'; expected one of {', '.join(_CHANNELS)}")
    if CvBridge is not None:
        return CvBridge().imgmsg_to_cv2(image, desired_encoding="rgb8")
    return decode_rgb(image)


def depth_array(image: Image) -> np.ndarray:
    """Depth (height, width) float32 [m] of a message, NaN where unknown: 16UC1 in millimetres or 32FC1 in metres.

    Raises:
        ValueError: the encoding is not known or the data do not fit the size.
    """
    if CvBridge is not None and image.encoding in ("16UC1", "32FC1"):
        return in_metres(CvBridge().imgmsg_to_cv2(image, desired_encoding="passthrough"))
    return decode_depth(image)


def decode_depth(image: Image) -> np.ndarray:
    """Depth as `depth_array` gives it, by numpy alone."""
    big_endian = bool(image.is_bigendian)
    return depth_of(image.encoding, image.height, image.width, image.step, image.data, big_endian=big_endian)


def intrinsics_of(info: CameraInfo) -> Intrinsics:
    """What a message says of a camera's pictures, those of its region and binning.

    Raises:
        ValueError: it says that the camera is not calibrated, or by a model that is not known.
    """
    return Intrinsics.of_camera_info(
        info.height,
        info.width,
        info.k,
        info.d,
        info.distortion_model,
        offset=(info.roi.y_offset, info.roi.x_offset),
        region=(info.roi.height, info.roi.width),
        binning=(info.binning_y, info.binning_x),
    )


def compressed_rgb_array(image: CompressedImage) -> np.ndarray:
    """Picture (height, width, 3) uint8 of a message that holds JPEG or PNG.

    Raises:
        ValueError: the bytes are no picture.
    """
    return decode_picture(bytes(image.data))


def decode_rgb(image: Image) -> np.ndarray:
    """Picture (height, width, 3) uint8, by numpy alone; zero-copy where the message is rgb8 without padding."""
    channels = _CHANNELS[image.encoding]
    data = np.frombuffer(image.data, dtype=np.uint8)
    if image.step < channels * image.width or data.size != image.step * image.height:
        raise ValueError(
            f"image of {image.width}x{image.height} {image.encoding} with step {image.step} holds {data.size} bytes; "
            f"expected {image.step * image.height} and a step of at least {channels * image.width}"
        )
    picture = data.reshape(image.height, image.step)[:, : channels * image.width]
    picture = picture.reshape(image.height, image.width, channels)
    if channels == 1:
        return np.repeat(picture, 3, axis=2)
    return picture[..., 2::-1] if image.encoding.startswith("bgr") else picture[..., :3]


def _message(pixels: np.ndarray, encoding: str, stamp: float, frame_id: str) -> Image:
    image = Image()
    image.header = header(stamp, frame_id)
    image.height, image.width = pixels.shape[:2]
    image.encoding = encoding
    image.step = pixels[0].nbytes if image.height else 0
    # From bytes it is one copy; from an ndarray rclpy would look at every number.
    image.data = array("B", np.ascontiguousarray(pixels).tobytes())
    return image
