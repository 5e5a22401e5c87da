//! Searching what came out for planted secrets, in every form in which one would be seen.

/// In one of the two alphabets, by the last two digits, and without padding.
pub(crate) fn base64(bytes: &[u8], last: [u8; 2]) -> String {
    let mut digits: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    digits.extend(last);
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            out.push(char::from(digits[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    out
}

fn url_encoded(text: &str) -> String {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if is_kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Every form in which a secret would be seen.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let mut all =
        vec![secret.to_owned(), hex::encode(secret), hex::encode_upper(secret), url_encoded(secret)];
    all.push(url_encoded(secret).to_lowercase());
    all.push(serde_json::to_string(secret).unwrap().trim_matches('"').to_owned());
    for last in [*b"+/", *b"-_"] {
        // Behind none, one or two other bytes; what these share a digit with is left out at both ends.
        for before in 0..3 {
            let mut bytes = vec![0; before];
            bytes.extend(secret.bytes());
            let encoded = base64(&bytes, last);
            let whole = bytes.len() / 3 * 4;
            all.push(encoded[if before == 0 { 0 } else { 4 }..whole].to_owned());
        }
    }
    all
}

/// Which of these secrets stand in these bytes, and in which form.
pub(crate) fn found(bytes: &[u8], secrets: &[&str]) -> Vec<String> {
    let forms = secrets.iter().flat_map(|secret| forms(secret));
    forms.filter(|form| bytes.windows(form.len()).any(|part| part == form.as_bytes())).collect()
}
