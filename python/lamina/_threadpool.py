"""What threadpoolctl needs to know, whose limits then reach Lamina's threads too."""

import threadpoolctl

from lamina import _core


class _Controller(threadpoolctl.LibController):  # type: ignore[misc, unused-ignore]
    user_api = internal_api = "lamina"
    filename_prefixes = ("_core",)
    check_symbols = ("lamina_threads",)  # other packages have a _core as well

    def get_num_threads(self) -> int:
        return _core.get_num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        _core.set_num_threads(num_threads)

    def get_version(self) -> str:
        return _core.__version__


threadpoolctl.register(_Controller)
