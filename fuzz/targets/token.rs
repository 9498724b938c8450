//! No text is accepted as a token, except one that is signed by our own key and is correct in every part.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use latchkey::keys::{Keys, Use};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sha2::Sha256;
use time::OffsetDateTime;

const SECRET: &str = "qk3P0o7Y0mYb5rVnTt9E6gkZ1yW8cXJfLhRuDsAaBvM=";
const SITE: &str = "https://accounts.example.com";

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::new(&SECRET.parse().expect("long enough"), Use::SESSION_COOKIE, SITE));
/// The key that tokens are signed with, and its name, as `src/keys.rs` derives them.
static FORGER: LazyLock<(EncodingKey, String)> = LazyLock::new(|| {
    let (root, mut key, mut kid) = (Hkdf::<Sha256>::new(None, SECRET.as_bytes()), [0; 32], [0; 6]);
    root.expand(b"latchkey session-cookie HS256 v1", &mut key).expect("short");
    root.expand(b"latchkey session-cookie kid v1", &mut kid).expect("short");
    (EncodingKey::from_secret(&key), URL_SAFE_NO_PAD.encode(kid))
});

// The input is the header and the claims, each on its own line. `KID` stands for the name of the key.
fuzz_target!(|text: &str| {
    let now = OffsetDateTime::UNIX_EPOCH;
    assert_eq!(KEYS.verify(text, now), None);
    let (key, kid) = &*FORGER;
    let Some((header, claims)) = text.split_once('\n') else { return };
    let header = header.replace("KID", kid);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, Algorithm::HS256).expect("signed");
    let token = format!("{message}.{signature}");
    let Some(pointer) = KEYS.verify(&token, now) else { return };
    let (header, claims): (Value, Value) =
        (serde_json::from_str(&header).expect("JSON"), serde_json::from_str(claims).expect("JSON"));
    assert_eq!((&header["alg"], &header["typ"], &header["kid"]), (&json!("HS256"), &json!("session+jwt"), &json!(kid)));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(SITE), &json!("web")));
    assert!(claims["exp"].as_i64().expect("a number") > 0 && claims["iat"].as_i64().expect("a number") <= 60);
    assert_eq!(claims["sub"].as_str().expect("text").parse(), Ok(pointer.user));
    assert_eq!(claims["sid"].as_str().expect("text").parse(), Ok(pointer.session));
    assert_eq!(claims.as_object().expect("an object").len(), 6);
    for at in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[at] ^= 1;
        assert_eq!(KEYS.verify(&String::from_utf8(bent).expect("ASCII"), now), None, "bent at {at}");
    }
});
