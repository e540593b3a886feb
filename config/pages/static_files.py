"""How static files are stored: under names that carry a digest, with a gzipped copy beside them."""

from typing import Any

from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    def create_compressor(self, **options: Any) -> Compressor:
        """Without Brotli copies, which WhiteNoise adds where that package is installed: 15 s of CPU instead of 0.8."""
        return Compressor(use_brotli=False, **options)  # type: ignore[no-untyped-call]
