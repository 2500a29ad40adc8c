//! Compression (content codings, RFC 9110 §8.4.1). The only user of brotli, flate2 and zstd.
//!
//! All three encoders give the same bytes for the same content, so an entity tag survives a restart.

use std::io::{self, Write};
use std::mem;

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::proto::accept::Coding;

/// The use of the result, which decides how much time to spend.
// measured: a page of 420 KB takes brotli 3.5 ms and becomes 18.1 % of it at quality 3, 11.5 ms and 16.2 % at 5
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Cached and sent many times.
    Cached,
    /// Sent once.
    Once,
}

/// An encoder of any coding.
pub struct Encoder(Kind);

enum Kind {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

/// The size of brotli's output buffer.
const BROTLI_BUFFER: usize = 4096;

/// The smallest and largest window of brotli, as powers of two. A window larger than the content only takes memory.
const BROTLI_WINDOWS: (u32, u32) = (16, 22);

impl Encoder {
    /// Makes an encoder for content of this length.
    pub fn new(coding: Coding, effort: Effort, len: u64) -> io::Result<Encoder> {
        let is_cached = effort == Effort::Cached;
        Ok(Encoder(match coding {
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: if is_cached { 5 } else { 3 },
                    lgwin: (u64::BITS - len.leading_zeros()).clamp(BROTLI_WINDOWS.0, BROTLI_WINDOWS.1) as i32,
                    size_hint: usize::try_from(len).unwrap_or(usize::MAX),
                    ..BrotliEncoderParams::default()
                };
                Kind::Brotli(Box::new(CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER, &params)))
            }
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), if is_cached { 6 } else { 3 })?;
                encoder.set_pledged_src_size(Some(len))?;
                Kind::Zstd(encoder)
            }
            Coding::Gzip => Kind::Gzip(GzEncoder::new(Vec::new(), Compression::new(if is_cached { 6 } else { 4 }))),
        }))
    }

    /// Adds bytes of the content.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Brotli(encoder) => encoder.write_all(bytes),
            Kind::Zstd(encoder) => encoder.write_all(bytes),
            Kind::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Takes the output since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(match &mut self.0 {
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Gzip(encoder) => encoder.get_mut(),
        })
    }

    /// Ends the content and returns the rest of the output.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self.0 {
            Kind::Brotli(encoder) => Ok(encoder.into_inner()),
            Kind::Zstd(encoder) => encoder.finish(),
            Kind::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// Encodes content to be cached.
pub fn encode(coding: Coding, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(coding, Effort::Cached, content.len() as u64)?;
    encoder.add(content)?;
    encoder.finish()
}

/// The length of the content that a compressed file declares in its own format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredLen {
    len: u64,
    /// The bits of the length that the format states.
    mask: u64,
}

impl DeclaredLen {
    /// The bytes needed from the start of a file, and from its end.
    pub const NEEDED: (u64, u64) = (4 + 1 + 1 + 4 + 8, 4);

    /// Reads it from the first and last bytes of a file; none if that is of another format.
    pub fn parse(coding: Coding, start: &[u8], end: &[u8]) -> Option<DeclaredLen> {
        match (coding, start, end) {
            // Brotli has neither a magic number nor a length (RFC 7932).
            (Coding::Brotli, ..) => Some(DeclaredLen { len: 0, mask: 0 }),
            // ISIZE (RFC 1952 §2.3.1).
            (Coding::Gzip, [0x1f, 0x8b, 8, ..], &[a, b, c, d]) => {
                Some(DeclaredLen { len: u32::from_le_bytes([a, b, c, d]).into(), mask: u32::MAX.into() })
            }
            (Coding::Zstd, [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..], _) => zstd_len(*descriptor, rest),
            _ => None,
        }
    }

    /// Reports whether content of this length can be the declared one.
    pub fn fits(self, len: u64) -> bool {
        len & self.mask == self.len
    }
}

/// Reads Frame_Content_Size (RFC 8878 §3.1.1.1), which follows the window size and the dictionary's number.
fn zstd_len(descriptor: u8, rest: &[u8]) -> Option<DeclaredLen> {
    let has_window = descriptor & 0x20 == 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [usize::from(!has_window), 2, 4, 8][usize::from(descriptor >> 6)];
    let start = usize::from(has_window) + dictionary;
    let bytes = rest.get(start..start + size)?;
    let number = bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let len = if size == 2 { number + 256 } else { number };
    Some(DeclaredLen { len, mask: if size == 0 { 0 } else { u64::MAX } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        let read = match coding {
            Coding::Brotli => brotli::Decompressor::new(bytes, BROTLI_BUFFER).read_to_end(&mut content),
            Coding::Zstd => zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut content)),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut content),
        };
        read.expect("the encoding can be decoded");
        content
    }

    /// Text with some repetition.
    fn text(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("<li>item {}</li>\n", (state >> 33) % 5000)
        };
        std::iter::repeat_with(|| word().into_bytes()).flatten().take(len).collect()
    }

    /// Half of the stack of a connection's thread.
    const STACK: usize = 128 * 1024;

    #[test]
    fn encoders_fit_into_stack_of_connection_thread() {
        for coding in Coding::ALL {
            let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
                let content = text(2 << 20);
                for effort in [Effort::Cached, Effort::Once] {
                    let mut encoder = Encoder::new(coding, effort, content.len() as u64).expect("the encoder starts");
                    encoder.add(&content).expect("the content is accepted");
                    encoder.finish().expect("the content can end");
                }
            });
            thread.expect("a thread can be started").join().expect("the thread ends");
        }
    }

    #[test]
    fn encoding_in_pieces_is_decoded_to_same_content() {
        for coding in Coding::ALL {
            for len in [0, 1, 1024, 65_536, 300_000] {
                let content = text(len);
                let whole = encode(coding, &content).expect("the content can be encoded");
                assert_eq!(decoded(coding, &whole), content, "{coding:?} {len}");
                assert_eq!(
                    encode(coding, &content).expect("the content can be encoded"),
                    whole,
                    "not the same bytes again"
                );
                assert!(len < 1024 || whole.len() < len / 2, "{coding:?} {len}: {}", whole.len());
                for piece in [1000, 65_536] {
                    let mut encoder = Encoder::new(coding, Effort::Once, len as u64).expect("the encoder starts");
                    let mut out = Vec::new();
                    for bytes in content.chunks(piece) {
                        encoder.add(bytes).expect("the content is accepted");
                        out.extend(encoder.take());
                    }
                    out.extend(encoder.finish().expect("the content can end"));
                    assert_eq!(decoded(coding, &out), content, "{coding:?} {len} by {piece}");
                }
            }
        }
    }

    #[test]
    fn declared_content_is_that_of_encoded_file() {
        for len in [0, 5, 255, 256, 300, 65_535, 65_792, 300_000] {
            for coding in Coding::ALL {
                let bytes = encode(coding, &text(len)).expect("the content can be encoded");
                let (start, end) = (&bytes[..bytes.len().min(18)], &bytes[bytes.len().saturating_sub(4)..]);
                let declared = DeclaredLen::parse(coding, start, end).expect("the format is the right one");
                assert!(declared.fits(len as u64), "{coding:?} {len}: {declared:?}");
                let fits_any = declared.fits(len as u64 + 1);
                assert_eq!(fits_any, coding == Coding::Brotli, "{coding:?} {len}: {declared:?}");
            }
        }
    }

    #[test]
    fn declared_content_is_read_in_every_form_of_header() {
        let declared = |len, mask| Some(DeclaredLen { len, mask });
        let (any_length, length) = (declared(0, 0), |len| declared(len, u64::MAX));
        let zstd = |header: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd], header].concat();
        for (coding, start, end, expected) in [
            (Coding::Gzip, vec![0x1f, 0x8b, 8, 0], [1, 0, 0, 0x80], declared(0x8000_0001, u32::MAX.into())),
            (Coding::Gzip, vec![0x1f, 0x8b, 7, 0], [1, 0, 0, 0], None),
            (Coding::Gzip, b"plain text".to_vec(), [1, 0, 0, 0], None),
            (Coding::Zstd, b"plain text".to_vec(), [0; 4], None),
            (Coding::Zstd, zstd(&[]), [0; 4], None),
            // Single segments: one byte, two, four and eight.
            (Coding::Zstd, zstd(&[0x20, 7]), [0; 4], length(7)),
            (Coding::Zstd, zstd(&[0x60, 7, 0]), [0; 4], length(263)),
            (Coding::Zstd, zstd(&[0xa0, 1, 0, 0, 1]), [0; 4], length(0x0100_0001)),
            (Coding::Zstd, zstd(&[0xe0, 1, 0, 0, 0, 0, 0, 0, 1]), [0; 4], length(0x0100_0000_0000_0001)),
            // With a window, and dictionaries.
            (Coding::Zstd, zstd(&[0x00, 9]), [0; 4], any_length),
            (Coding::Zstd, zstd(&[0x40, 9, 7, 0]), [0; 4], length(263)),
            (Coding::Zstd, zstd(&[0x21, 9, 7]), [0; 4], length(7)),
            (Coding::Zstd, zstd(&[0x22, 9, 9, 7]), [0; 4], length(7)),
            (Coding::Zstd, zstd(&[0x23, 9, 9, 9, 9, 7]), [0; 4], length(7)),
            (Coding::Zstd, zstd(&[0x23, 9, 9, 9, 9]), [0; 4], None),
        ] {
            assert_eq!(DeclaredLen::parse(coding, &start, &end), expected, "{coding:?} {start:x?}");
        }
        let low_bits = DeclaredLen { len: 1, mask: u32::MAX.into() };
        assert!(low_bits.fits(1 << 32 | 1) && !low_bits.fits(1 << 32 | 2));
    }
}
