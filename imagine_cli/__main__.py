"""``python -m imagine_cli`` is ``imagine``."""

import sys

from imagine_cli.cli import main

sys.exit(main())
