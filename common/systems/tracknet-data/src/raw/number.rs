//! Decimal numbers of a csv file, eight bytes at a time.
//!
//! Hit coordinates have six significant digits, so nearly all fields are shorter than eight bytes. One word then holds
//! the field and its end: the end is found, the point squeezed out and all digits are summed by a few operations on the
//! word, without a branch that depends on the data. Loops over single bytes take three times as long, because they end
//! after another number of steps each time. Every other field takes the long way, to the same value.

/// Bytes that must follow the text, so that a word can be read from its last byte on.
pub const ROOM: usize = 16;

/// 1 in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The sign bit of every byte.
const TOPS: u64 = 0x8080_8080_8080_8080;

/// A plain decimal number: sign, digits, at most one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    mantissa: u64,
    /// Digits from the first one on that is not 0; none: there was no digit at all.
    digits: Option<u32>,
    decimals: u32,
    whole: bool,
    /// The place behind it.
    pub end: usize,
}

/// Powers of ten that an f64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

impl Number {
    /// The value of a whole number of up to 18 digits.
    #[inline]
    pub fn integer(self) -> Option<i64> {
        let value = self.mantissa as i64;
        (self.whole && self.digits.is_some_and(|n| n <= 18)).then_some(if self.negative { -value } else { value })
    }

    /// The value of a number of up to 15 digits. Both operands of the one division are exact, so its result is the
    /// correctly rounded value.
    #[inline]
    pub fn float(self) -> Option<f64> {
        if self.digits.is_none_or(|n| n > 15) || self.decimals > 22 {
            return None;
        }
        let value = self.mantissa as i64 as f64 / POWERS[self.decimals as usize];
        Some(if self.negative { -value } else { value })
    }
}

/// Eight bytes from `at` on, the first one lowest.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Marks the sign bit of bytes that are 0. The lowest mark is right; above it a borrow can leave a wrong one.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & TOPS
}

/// Place of the lowest mark, 8 without one.
#[inline]
fn first(marks: u64) -> u32 {
    marks.trailing_zeros() / 8
}

/// The value of eight digits, the first one lowest.
#[inline]
fn eight(digits: u64) -> u64 {
    // Pairs of digits, then of pairs, then of fours: each step adds neighbours, the lower one with its weight.
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff
}

/// Whether all bytes are 0 to 9.
#[inline]
fn are_digits(word: u64) -> bool {
    (word.wrapping_add(0x76 * ONES) | word) & TOPS == 0
}

/// A number at `at` of at most seven characters behind its sign, up to a byte that is no part of numbers.
#[inline]
pub fn short(bytes: &[u8], at: usize) -> Option<Number> {
    let negative = bytes[at] == b'-';
    let from = at + usize::from(negative);
    let text = word(bytes, from);
    // Comma, line end, space: all bytes below `-`.
    let length = first(text.wrapping_sub(u64::from(b'-') * ONES) & !text & TOPS);
    let point = first(zeros(text ^ (u64::from(b'.') * ONES))).min(length);
    let fraction = u32::from(point < length);
    let digits = length - fraction;
    if length == 8 || digits == 0 {
        return None;
    }
    let before = (1_u64 << (8 * point)) - 1;
    let squeezed = (text & before) | ((text >> (8 * fraction)) & !before);
    // What lies behind the number is shifted out, zeros come in before it.
    let digits_only = (squeezed ^ (u64::from(b'0') * ONES)) << (64 - 8 * digits);
    are_digits(digits_only).then(|| Number {
        negative,
        mantissa: eight(digits_only),
        digits: Some(digits),
        decimals: length - point - fraction,
        whole: fraction == 0,
        end: from + length as usize,
    })
}

/// A number at `at` of any length, up to the byte that is no part of it.
pub fn long(bytes: &[u8], mut at: usize) -> Number {
    let negative = bytes.get(at) == Some(&b'-');
    at += usize::from(negative);
    let mut number = Number { negative, mantissa: 0, digits: None, decimals: 0, whole: true, end: 0 };
    let mut significant = 0;
    while let Some(&byte) = bytes.get(at) {
        let eight_more = word(bytes, at) ^ (u64::from(b'0') * ONES);
        if number.whole && significant > 0 && are_digits(eight_more) {
            number.mantissa = number.mantissa.wrapping_mul(100_000_000).wrapping_add(eight(eight_more));
            significant += 8;
            at += 8;
            continue;
        }
        if byte.is_ascii_digit() {
            number.mantissa = number.mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            significant += u32::from(significant > 0 || byte != b'0');
            number.digits = Some(0);
            number.decimals += u32::from(!number.whole);
        } else if byte == b'.' && number.whole {
            number.whole = false;
        } else {
            break;
        }
        at += 1;
    }
    number.digits = number.digits.map(|_| significant);
    number.end = at;
    number
}

/// Place of the first byte from `at` on for which `marks` of its word has a mark; the last byte of the text at most.
#[inline]
fn find(bytes: &[u8], mut at: usize, marks: impl Fn(u64) -> u64) -> usize {
    let last = bytes.len() - ROOM;
    while at < last {
        let place = first(marks(word(bytes, at)));
        at += place as usize;
        if place < 8 {
            break;
        }
    }
    at.min(last)
}

/// Place of the first comma or line end from `at` on.
#[inline]
pub fn field_end(bytes: &[u8], at: usize) -> usize {
    find(bytes, at, |word| zeros(word ^ (u64::from(b',') * ONES)) | zeros(word ^ (u64::from(b'\n') * ONES)))
}

/// Place of the first line end from `at` on. What is left of a row has about ten bytes, so words of sixteen.
#[inline]
pub fn line_end(bytes: &[u8], mut at: usize) -> usize {
    const LOW: u128 = u128::from_le_bytes([1; 16]);
    let last = bytes.len() - ROOM;
    while at < last {
        let text = bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u128::from_le_bytes(*chunk));
        let other = text ^ (u128::from(b'\n') * LOW);
        let marks = other.wrapping_sub(LOW) & !other & (0x80 * LOW);
        if marks != 0 {
            at += marks.trailing_zeros() as usize / 8;
            break;
        }
        at += 16;
    }
    at.min(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_room(text: &str) -> Vec<u8> {
        [text.as_bytes(), b"\n", &[0; ROOM]].concat()
    }

    fn read(text: &str) -> Number {
        let bytes = with_room(text);
        let slow = long(&bytes, 0);
        if let Some(fast) = short(&bytes, 0) {
            assert_eq!((fast.integer(), fast.float(), fast.end), (slow.integer(), slow.float(), slow.end), "`{text}`");
        }
        slow
    }

    #[test]
    fn numbers_of_every_length_have_their_value() {
        for text in ["0", "-0", "7", "-1234567", "12345678", "123456789012345678", "-900719925474099312"] {
            assert_eq!(read(text).integer(), text.parse().ok(), "{text}");
        }
        for text in ["0.5", "-64.4099", "-1502.5", ".5", "5.", "0.987654", "-0.00123456", "123456789.012345", "00.25"] {
            assert_eq!(read(text).float(), text.parse().ok(), "{text}");
            assert_eq!(read(text).integer(), None);
        }
        for text in ["", "-", ".", "-.", "x", "+1", "/1", "1234567890123456789"] {
            assert_eq!(read(text).integer(), None, "`{text}`");
        }
        for text in ["", "-", ".", "-.", "x"] {
            assert_eq!(read(text).float(), None, "`{text}`");
        }
        // The caller sees by the end that more than the number stands in the field.
        assert_eq!([read("1e-5").end, read("1.2.3").end, read("12 ").end, read("3/4").end], [1, 3, 2, 1]);
    }

    #[test]
    fn separators_are_found_behind_any_number_of_bytes() {
        for n in 0..40 {
            let bytes = with_room(&format!("{}\u{80}{},x", "9".repeat(n), "-".repeat(n % 11)));
            let comma = bytes.iter().position(|&b| b == b',').unwrap();
            let line = bytes.iter().position(|&b| b == b'\n').unwrap();
            assert_eq!((field_end(&bytes, 0), line_end(&bytes, 0), field_end(&bytes, comma + 1)), (comma, line, line));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_alike_on_both_ways(text in "-?[0-9.,e x]{0,12}") {
            read(&text);
        }

        #[test]
        fn floats_are_those_of_the_standard_library(value in -1e4..1e4_f64, decimals in 0..7_usize) {
            let text = format!("{value:.decimals$}");
            prop_assert_eq!(read(&text).float(), text.parse().ok());
        }
    }
}
