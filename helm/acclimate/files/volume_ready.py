"""Run once a volume is there: says whether steps, which have only their group's rights on it, can write."""

import os
import stat
import sys

folder = sys.argv[1]
try:
    probe = os.path.join(folder, ".writable")
    with open(probe, "w", encoding="utf-8") as file:
        file.write("")
    os.remove(probe)
except OSError as error:
    sys.exit(
        f"{error}: the storage driver of this volume ignores fsGroup. Make its root writable for group "
        f"{os.getgid()}, with the driver's own option or from an administrator's pod: "
        f"chgrp {os.getgid()} DIR && chmod g+rwxs DIR"
    )
found = os.stat(folder)
print(f"ok: group {found.st_gid}, mode {stat.filemode(found.st_mode)}")
