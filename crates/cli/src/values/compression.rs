//! The attributes `compression` and `compression-level`.

use xbuild_layer::Encoding;
use xbuild_model::manifest::Compression;

/// Returns the encoding that the two attributes name, or the reason why they name none.
///
/// **Source** — BuildKit, `docs/exporters`: `compression`, `compression-level`.
pub(super) fn encoding(
    compression: Option<&str>,
    level: Option<&str>,
) -> Result<Encoding, &'static str> {
    let compression = match compression {
        None | Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some("uncompressed") => Compression::None,
        Some("estargz") => {
            return Err("compression=estargz is not implemented: use gzip, which every reader of \
                        estargz can read, or zstd");
        }
        Some(_) => return Err("compression is gzip, zstd or uncompressed"),
    };
    let levels = match compression {
        Compression::Gzip => "compression-level of gzip is 0 to 9",
        Compression::Zstd => "compression-level of zstd is 0 to 22",
        Compression::None => "compression-level has no meaning with compression=uncompressed",
    };
    let level = level.map(|level| level.parse().map_err(|_| levels)).transpose()?;
    Encoding::new(compression, level).ok_or(levels)
}
