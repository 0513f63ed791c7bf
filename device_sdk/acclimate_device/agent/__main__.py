"""`python -m acclimate_device.agent` is `acclimate-device`."""

import sys

from acclimate_device.command import main

sys.exit(main())
