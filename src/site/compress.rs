//! Content put into a coding (RFC 9110 §8.4.1). The only user of brotli, flate2 and zstd.
//!
//! What is kept is worth more time than what is sent and forgotten. Milliseconds and share of the length, of a page of
//! 420 KB and of a script of 898 KB (an Intel Xeon at 2.8 GHz beside other work, best of several):
//!
//! |               | page         | script       |            | page         | script       |
//! |---------------|--------------|--------------|------------|--------------|--------------|
//! | brotli 3      |  3.5, 18.1 % |  7.4, 17.1 % | brotli 5   | 11.5, 16.2 % | 23.9, 12.2 % |
//! | zstd 3        |  1.1, 18.8 % |  1.9, 15.6 % | zstd 6     |  3.5, 17.0 % |  6.9, 13.0 % |
//! | gzip 4        |  3.4, 20.9 % |  6.5, 14.9 % | gzip 6     |  5.6, 20.3 % | 16.5, 13.7 % |
//!
//! Two crates that write zstd in Rust alone were tried: one has a single level, which gives 30.2 %; the other is as good as
//! the original in C and takes one and a half times as long, but is young and ten times the code. All three encoders
//! give the same bytes for the same content.

use std::io::{self, Write};
use std::mem;

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::proto::accept::Coding;

/// What becomes of the outcome, which says how much time it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// It is kept and sent many times.
    Kept,
    /// It is sent once.
    Once,
}

/// Content that is being put into a coding.
pub struct Encoder {
    kind: Kind,
}

enum Kind {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

/// The size of the buffer in which brotli gives out what is done.
const BROTLI_BUFFER: usize = 4096;

/// The smallest and the largest window of brotli, as powers of two. A larger one than the content only takes memory.
const BROTLI_WINDOWS: (u32, u32) = (16, 22);

impl Encoder {
    /// Begins with content of this length.
    pub fn new(coding: Coding, effort: Effort, len: u64) -> io::Result<Encoder> {
        let is_kept = effort == Effort::Kept;
        let out = Vec::new();
        let kind = match coding {
            Coding::Brotli => {
                let (least, most) = BROTLI_WINDOWS;
                let window = (u64::BITS - len.leading_zeros()).clamp(least, most);
                let params = BrotliEncoderParams {
                    quality: if is_kept { 5 } else { 3 },
                    lgwin: window as i32,
                    size_hint: usize::try_from(len).unwrap_or(usize::MAX),
                    ..BrotliEncoderParams::default()
                };
                Kind::Brotli(Box::new(CompressorWriter::with_params(out, BROTLI_BUFFER, &params)))
            }
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(out, if is_kept { 6 } else { 3 })?;
                encoder.set_pledged_src_size(Some(len))?;
                Kind::Zstd(encoder)
            }
            Coding::Gzip => Kind::Gzip(GzEncoder::new(out, Compression::new(if is_kept { 6 } else { 4 }))),
        };
        Ok(Encoder { kind })
    }

    /// Goes on with these bytes of the content.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kind {
            Kind::Brotli(encoder) => encoder.write_all(bytes),
            Kind::Zstd(encoder) => encoder.write_all(bytes),
            Kind::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Takes what has come out since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(match &mut self.kind {
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Gzip(encoder) => encoder.get_mut(),
        })
    }

    /// Ends the content and returns what is left of it.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self.kind {
            Kind::Brotli(encoder) => Ok(encoder.into_inner()),
            Kind::Zstd(encoder) => encoder.finish(),
            Kind::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// Puts all of this into a coding, to be kept.
pub fn encode(coding: Coding, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(coding, Effort::Kept, content.len() as u64)?;
    encoder.add(content)?;
    encoder.finish()
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
        read.expect("it can be decoded");
        content
    }

    /// Text that repeats itself now and then.
    fn text(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("<li>item {}</li>\n", (state >> 33) % 5000)
        };
        std::iter::repeat_with(|| word().into_bytes()).flatten().take(len).collect()
    }

    /// Half of what a connection's thread has.
    const STACK: usize = 128 * 1024;

    #[test]
    fn the_stack_of_a_connection_is_large_enough() {
        for coding in Coding::ALL {
            let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
                let content = text(2 << 20);
                for effort in [Effort::Kept, Effort::Once] {
                    let mut encoder = Encoder::new(coding, effort, content.len() as u64).expect("it can begin");
                    encoder.add(&content).expect("it can go on");
                    encoder.finish().expect("it can end");
                }
            });
            thread.expect("a thread can be started").join().expect("it comes to an end");
        }
    }

    #[test]
    fn what_is_encoded_whole_or_in_pieces_is_decoded_to_the_same() {
        for coding in Coding::ALL {
            for len in [0, 1, 1024, 65_536, 300_000] {
                let content = text(len);
                let whole = encode(coding, &content).expect("it can be encoded");
                assert_eq!(decoded(coding, &whole), content, "{coding:?} {len}");
                assert_eq!(encode(coding, &content).expect("it can be encoded"), whole, "not the same bytes again");
                assert!(len < 1024 || whole.len() < len / 2, "{coding:?} {len}: {}", whole.len());
                for piece in [1000, 65_536] {
                    let mut encoder = Encoder::new(coding, Effort::Once, len as u64).expect("it can begin");
                    let mut out = Vec::new();
                    for bytes in content.chunks(piece) {
                        encoder.add(bytes).expect("it can go on");
                        out.extend(encoder.take());
                    }
                    out.extend(encoder.finish().expect("it can end"));
                    assert_eq!(decoded(coding, &out), content, "{coding:?} {len} by {piece}");
                }
            }
        }
    }
}
