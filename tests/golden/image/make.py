"""Makes the pictures of this folder and, with Pillow and torchvision, what must be read from them.

NAME.png/.jpg/.webp is a file, NAME.npy the bytes (H x W or H x W x C, uint8; uint16 as NAME.npy of '<u2' is not read by parry, so
16-bit files are compared with the formula in the test) that Pillow decodes, upright and on white. resize_*.npy: photo.jpg through
torchvision's transforms. Run: python make.py, with Pillow, torchvision and NumPy; the pictures are patterns made here.
"""
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from torchvision import transforms as T
from torchvision.transforms import InterpolationMode


def pattern(h, w, c, seed=0):
    y, x = np.mgrid[0:h, 0:w]
    planes = [127.5 + 80 * np.sin(0.35 * x + k + seed) + 60 * np.cos(0.5 * y - 2 * k) + 20 * ((x // 5 + y // 7) % 2) for k in range(c)]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def on_white(im):
    """Alpha composited on white, each sample rounded to the nearest."""
    a = np.asarray(im).astype(np.uint32)
    colour, alpha = a[..., :-1], a[..., -1:]
    out = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return out.astype(np.uint8).squeeze()


def expect(name, pixels):
    np.save(name + ".npy", np.ascontiguousarray(pixels.astype(np.uint8)))


def save(name, ext, im, **options):
    im.save(f"{name}.{ext}", **options)
    return ImageOps.exif_transpose(Image.open(f"{name}.{ext}"))


def png(h, w, depth, colour, rows, interlace):
    """A PNG file from raw passes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def adam7(a):
    out = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = a[y0::dy, x0::dx]
        if part.size:
            out += b"".join(b"\0" + row.tobytes() for row in part)
    return out


rgb, grey = pattern(21, 26, 3), pattern(21, 26, 1)[..., 0]
alpha = np.dstack([rgb, pattern(21, 26, 1, 3)])
for name, mode, pixels in (("grey", "L", grey), ("rgb", "RGB", rgb)):
    expect(name, np.asarray(save(name, "png", Image.fromarray(pixels, mode))))
expect("bilevel", np.asarray(save("bilevel", "png", Image.fromarray(grey).point(lambda v: 255 * (v > 120)).convert("1")).convert("L")))
palette = save("palette", "png", Image.fromarray(rgb).quantize(16, dither=0))
expect("palette", np.asarray(palette.convert("RGB")))
expect("palette_transparent", on_white(save("palette_transparent", "png", Image.fromarray(rgb).quantize(16, dither=0), transparency=3).convert("RGBA")))
expect("rgba", on_white(save("rgba", "png", Image.fromarray(alpha, "RGBA"))))
expect("grey_alpha", on_white(save("grey_alpha", "png", Image.fromarray(alpha[..., 2:], "LA"))))
open("interlaced.png", "wb").write(png(21, 26, 8, 2, adam7(rgb), 1))
expect("interlaced", np.asarray(Image.open("interlaced.png")))
y, x = np.mgrid[0:21, 0:26]
grey16 = (y * 3001 + x * 17).astype(">u2")
rgb16 = np.stack([(y * 3001 + x * 17 + c * 11) % 65536 for c in range(3)], -1).astype(">u2")
open("grey16.png", "wb").write(png(21, 26, 16, 0, b"".join(b"\0" + r.tobytes() for r in grey16), 0))
open("rgb16.png", "wb").write(png(21, 26, 16, 2, b"".join(b"\0" + r.tobytes() for r in rgb16), 0))

photo = pattern(37, 50, 3, 1)
expect("photo", np.asarray(save("photo", "jpg", Image.fromarray(photo), quality=85)))
expect("progressive", np.asarray(save("progressive", "jpg", Image.fromarray(photo), quality=90, progressive=True, subsampling=0)))
expect("grey_jpeg", np.asarray(save("grey_jpeg", "jpg", Image.fromarray(photo[..., 0]), quality=85)))
expect("cmyk", np.asarray(save("cmyk", "jpg", Image.fromarray(pattern(20, 24, 4, 2), "CMYK"), quality=90).convert("RGB")))
for turn in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = turn
    expect(f"turn{turn}", np.asarray(save(f"turn{turn}", "jpg", Image.fromarray(pattern(9, 14, 3)), quality=95, exif=exif.tobytes())))
exif = Image.Exif()
exif[0x0112] = 6
expect("turned_png", np.asarray(save("turned_png", "png", Image.fromarray(rgb), exif=exif)))
expect("lossy", np.asarray(save("lossy", "webp", Image.fromarray(photo), quality=80)))
expect("lossless", on_white(save("lossless", "webp", Image.fromarray(alpha, "RGBA"), lossless=True, exact=True)))
expect("turned_webp", np.asarray(save("turned_webp", "webp", Image.fromarray(photo), lossless=True, exif=exif)))

im = Image.open("photo.jpg")
expect("resize_crop", np.asarray(T.Compose([T.Resize(19), T.CenterCrop(16)])(im)))
expect("resize_crop_up", np.asarray(T.Compose([T.Resize(64), T.CenterCrop(61)])(im)))
expect("resize_crop_tall", np.asarray(T.Compose([T.Resize(24), T.CenterCrop((17, 23))])(im.transpose(Image.Transpose.ROTATE_90))))
expect("resize_squash", np.asarray(im.resize((13, 17), Image.Resampling.BILINEAR)))
expect("resize_nearest", np.asarray(im.resize((13, 17), Image.Resampling.NEAREST)))
expect("resize_nearest_up", np.asarray(im.resize((83, 61), Image.Resampling.NEAREST)))
expect("to_grey", np.asarray(im.convert("L").resize((13, 17), Image.Resampling.BILINEAR)))
im.transpose(Image.Transpose.ROTATE_90).save("tall.png")
