#!/usr/bin/env python3
"""How fast torchvision loads photographs: Pillow, Resize, CenterCrop and ToTensor in a DataLoader's worker processes.

    photos_torch.py THREADS FOLDER TIMES SIDE

One JSON line; the first pass, in which the workers start, is not counted.
"""
import glob
import json
import os
import sys
import time

import torch
from PIL import Image
from torchvision import transforms


class Photos(torch.utils.data.Dataset):
    def __init__(self, folder, times, side):
        files = sorted(glob.glob(os.path.join(folder, "images", "*")) or glob.glob(os.path.join(folder, "*", "*")))
        self.files = files * times
        self.transform = transforms.Compose(
            [transforms.Resize(side * 256 // 224), transforms.CenterCrop(side), transforms.ToTensor()])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        with Image.open(self.files[i]) as image:
            return self.transform(image.convert("RGB"))


def main():
    threads, folder, times, side = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    photos = Photos(folder, times, side)
    loader = torch.utils.data.DataLoader(photos, batch_size=32, num_workers=threads, persistent_workers=True)
    for _ in range(2):
        begin, count = time.perf_counter(), 0
        for batch in loader:
            count += len(batch)
        seconds = time.perf_counter() - begin
    print(json.dumps({"bench": "photos_torch", "side": side, "images": count, "images_per_s": round(count / seconds, 1)}))


main()
