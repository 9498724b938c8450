//! Forged tokens, in the cookie and as bearer: none of them opens an account.
//!
//! Half of the forged tokens are signed with the real key, which no attacker has. So the tests see that each rule holds by
//! itself, and not only because the signature is wrong too.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, crypto, decode};
use reqwest::header::{AUTHORIZATION, COOKIE, LOCATION};
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::OTTER;
use crate::app::TestApp;

/// A time far in the future.
const LATE: i64 = 9_999_999_999;

/// The two places where a token is accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Cookie,
    Bearer,
}

impl Door {
    const BOTH: [Self; 2] = [Self::Cookie, Self::Bearer];

    fn label(self) -> &'static str {
        if self == Self::Cookie { "session-cookie" } else { "api-token" }
    }

    fn other(self) -> Self {
        if self == Self::Cookie { Self::Bearer } else { Self::Cookie }
    }

    /// Returns a token of this user, from a log-in.
    async fn token_of(self, app: &TestApp, name: &str) -> String {
        if self == Self::Cookie {
            let mut browser = app.browser();
            assert_eq!(browser.log_in(name, OTTER).await.path, "/profile");
            return browser.cookies["latchkey_session"].clone();
        }
        let form = [("username", name), ("password", OTTER)];
        let answer = Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
    }

    /// Returns whether the token opens this door. Every token that does not gets the same answer, and never a fault.
    async fn opens(self, app: &TestApp, token: &str) -> bool {
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        let (path, header, value) = match self {
            Self::Cookie => ("/profile", COOKIE, format!("latchkey_session={token}")),
            Self::Bearer => ("/users/me/", AUTHORIZATION, format!("Bearer {token}")),
        };
        let answer = client.get(format!("{}{path}", app.url)).header(header, value).send().await.unwrap();
        match (self, answer.status().as_u16()) {
            (_, 200) => return true,
            (Self::Cookie, 303) => assert_eq!(answer.headers()[LOCATION], "/login", "{token}"),
            (Self::Bearer, 401) => {
                let challenge = if token.is_empty() { "Bearer" } else { "Bearer error=\"invalid_token\"" };
                assert_eq!(answer.headers()["www-authenticate"], challenge, "{token}");
            }
            (_, status) => panic!("{self:?}: {status} for {token}"),
        }
        false
    }
}

/// Signs tokens as the server does: with a key that is derived from its folder's secret as in `src/keys.rs`.
struct Forger {
    key: EncodingKey,
    kid: String,
}

impl Forger {
    fn of(app: &TestApp, door: Door) -> Self {
        Self::of_label(app, door.label())
    }

    /// Returns the forger for tokens with this label.
    fn of_label(app: &TestApp, label: &str) -> Self {
        let secret = fs::read_to_string(app.dir.path().join("secret")).unwrap();
        let root = Hkdf::<Sha256>::new(None, secret.trim().as_bytes());
        let (mut kid, mut key) = ([0; 6], [0; 32]);
        root.expand(format!("latchkey {label} kid v1").as_bytes(), &mut kid).unwrap();
        root.expand(format!("latchkey {label} HS256 v1").as_bytes(), &mut key).unwrap();
        Self { key: EncodingKey::from_secret(&key), kid: URL_SAFE_NO_PAD.encode(kid) }
    }

    /// Returns a token of any two texts, signed with the real key and this algorithm.
    fn signs(&self, header: &str, claims: &str, algorithm: Algorithm) -> String {
        signed(header, claims, &self.key, algorithm)
    }
}

fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[name] = value;
    changed
}

fn without(object: &Value, name: &str) -> Value {
    let mut changed = object.clone();
    changed.as_object_mut().unwrap().remove(name).unwrap();
    changed
}

/// A real token of Sam's at a door, its parts, and a forger who can make more.
struct Case {
    app: TestApp,
    door: Door,
    real: String,
    header: Value,
    claims: Value,
    forger: Forger,
}

impl Case {
    async fn at(door: Door) -> Self {
        let app = TestApp::start().await;
        app.user("sam", OTTER).await;
        let real = door.token_of(&app, "sam").await;
        let parts: Vec<&str> = real.split('.').collect();
        let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
        let forger = Forger::of(&app, door);
        assert_eq!((&header["alg"], &header["kid"]), (&json!("HS256"), &json!(forger.kid)));
        // An API token also has what RFC 9068 asks for.
        let keys = ["iss", "aud", "sub", "sid", "iat", "exp", "client_id", "jti"];
        let keys = if door == Door::Cookie { &keys[..6] } else { &keys };
        assert_eq!(claims.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
        let case = Self { app, door, header, claims, forger, real };
        // The control: a forged token with the right values is as good as a real one.
        let late = with(&case.claims, "exp", LATE.into());
        assert!(case.door.opens(&case.app, &case.real).await);
        assert!(case.door.opens(&case.app, &case.signs(&case.header, &late)).await, "the forger has the real key");
        case
    }

    fn signs(&self, header: &Value, claims: &Value) -> String {
        self.forger.signs(&header.to_string(), &claims.to_string(), Algorithm::HS256)
    }

    async fn refuses(&self, what: &str, token: &str) {
        assert!(!self.door.opens(&self.app, token).await, "{:?} takes {what}: {token}", self.door);
    }

    /// Checks that the real token still works at the end, so that the refusals prove something.
    async fn ends(self) {
        assert!(self.door.opens(&self.app, &self.real).await, "{:?}", self.door);
    }
}

#[tokio::test]
async fn a_header_that_chooses_its_own_algorithm_opens_nothing() {
    for door in Door::BOTH {
        let case = Case::at(door).await;
        let claims = case.claims.to_string();
        for alg in ["none", "None", "NONE", "nOnE", "none ", "", "hs256", "HS256 ", "HS1", "HS256\u{0}"] {
            let token = case.signs(&with(&case.header, "alg", alg.into()), &case.claims);
            let (message, _) = token.rsplit_once('.').unwrap();
            case.refuses("a foreign alg over the right signature", &token).await;
            case.refuses("no signature", &format!("{message}.")).await;
            case.refuses("no signature at all", message).await;
        }
        for alg in [Value::Null, json!(0), json!(["HS256"]), json!({"HS256": 1})] {
            case.refuses("an alg of no sense", &case.signs(&with(&case.header, "alg", alg), &case.claims)).await;
        }
        case.refuses("no alg", &case.signs(&without(&case.header, "alg"), &case.claims)).await;
        for (name, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
            let named = with(&case.header, "alg", name.into()).to_string();
            case.refuses("another hash, named", &case.forger.signs(&named, &claims, algorithm)).await;
            let unnamed = case.header.to_string();
            case.refuses("another hash, unnamed", &case.forger.signs(&unnamed, &claims, algorithm)).await;
            case.refuses("our hash under another name", &case.forger.signs(&named, &claims, Algorithm::HS256)).await;
        }
        case.ends().await;
    }
}

#[tokio::test]
async fn a_header_that_brings_its_own_key_opens_nothing_and_is_not_fetched() {
    let own = Command::new("sh")
        .args(["-c", "openssl genrsa 2048 2>/dev/null | openssl rsa -traditional -outform DER 2>/dev/null"])
        .output()
        .unwrap();
    let own = EncodingKey::from_rsa_der(&own.stdout);
    let jwk = Jwk::from_encoding_key(&own, Algorithm::RS256).unwrap();
    for door in Door::BOTH {
        let case = Case::at(door).await;
        let forged = |header: &Value| signed(&header.to_string(), &case.claims.to_string(), &own, Algorithm::RS256);
        let header = with(&case.header, "alg", "RS256".into());
        let embedded = forged(&with(&header, "jwk", json!(jwk)));
        let mut rules = Validation::new(Algorithm::RS256);
        rules.validate_aud = false;
        let believed = decode::<Value>(&embedded, &DecodingKey::from_jwk(&jwk).unwrap(), &rules);
        assert!(believed.is_ok(), "a program that believes the embedded key takes it");
        case.refuses("the key that it brings", &embedded).await;
        case.refuses(
            "the key that it brings, without our kid",
            &forged(&without(&with(&header, "jwk", json!(jwk)), "kid")),
        )
        .await;

        let keys = TcpListener::bind("127.0.0.1:0").unwrap();
        keys.set_nonblocking(true).unwrap();
        let address = format!("http://{}/keys.json", keys.local_addr().unwrap());
        for name in ["jku", "x5u"] {
            case.refuses("a key that it points at", &forged(&with(&header, name, json!(address)))).await;
        }
        case.refuses("a certificate that it brings", &forged(&with(&header, "x5c", json!(["AAAA"])))).await;
        assert_eq!(keys.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "Latchkey has not asked there");
        case.ends().await;
    }
}

#[tokio::test]
async fn a_header_that_demands_what_we_do_not_know_opens_nothing() {
    for door in Door::BOTH {
        let case = Case::at(door).await;
        for crit in [json!(["exp"]), json!(["b64"]), json!(["x"]), json!([]), json!("exp"), Value::Null] {
            let header = with(&case.header, "crit", crit);
            case.refuses("an extension that must be understood (RFC 7515, 4.1.11)", &case.signs(&header, &case.claims))
                .await;
            let header = with(&with(&header, "x", json!(1)), "b64", json!(true));
            case.refuses("the same, with the extensions", &case.signs(&header, &case.claims)).await;
        }
        for name in ["jwk", "jku", "x5u", "x5c", "cty", "zip", "enc", "b64", "x"] {
            for value in [Value::Null, json!(""), json!({})] {
                let header = with(&case.header, name, value);
                case.refuses("what we never put into a header", &case.signs(&header, &case.claims)).await;
            }
        }
        case.ends().await;
    }
}

#[tokio::test]
async fn an_api_token_names_its_client_and_itself_and_one_from_before_still_works() {
    let case = Case::at(Door::Bearer).await;
    let signed = |claims: &Value| case.signs(&case.header, claims);
    assert_eq!(case.claims["client_id"], "latchkey");
    let another = Door::Bearer.token_of(&case.app, "sam").await;
    let another = decoded(another.split('.').nth(1).unwrap());
    assert!(case.claims["jti"].as_str().is_some_and(|jti| jti.len() == 36) && case.claims["jti"] != another["jti"]);
    for name in ["client_id", "jti"] {
        for value in [Value::Null, json!(""), json!("x"), json!(1), json!([case.claims[name]]), json!({})] {
            case.refuses("a claim of no sense", &signed(&with(&case.claims, name, value))).await;
        }
        case.refuses("one of the two", &signed(&without(&case.claims, name))).await;
    }
    // The release before made tokens with six claims.
    let from_before = without(&without(&case.claims, "client_id"), "jti");
    assert!(case.door.opens(&case.app, &signed(&from_before)).await);
    case.ends().await;

    let case = Case::at(Door::Cookie).await;
    for (name, value) in [("client_id", json!("latchkey")), ("jti", json!(Uuid::nil())), ("jti", Value::Null)] {
        case.refuses("a claim of API tokens", &case.signs(&case.header, &with(&case.claims, name, value))).await;
    }
    let both = with(&with(&case.claims, "client_id", json!("latchkey")), "jti", json!(Uuid::nil()));
    case.refuses("both claims of API tokens", &case.signs(&case.header, &both)).await;
    case.ends().await;
}

#[tokio::test]
async fn a_kid_is_one_of_ours_and_nothing_else() {
    for door in Door::BOTH {
        let case = Case::at(door).await;
        let claims = case.claims.to_string();
        let passwd = fs::read("/etc/passwd").unwrap();
        for (kid, key) in [
            ("../../../../../../etc/passwd", &passwd[..]),
            ("/dev/null", b""),
            ("../../../../../../dev/null", b""),
            ("file:///dev/null", b""),
            ("", b""),
            ("' UNION SELECT 'x' -- ", b"x"),
            ("x' OR '1'='1", b""),
            ("|/bin/true", b""),
            ("secret", b"secret"),
        ] {
            let header = with(&case.header, "kid", kid.into());
            let forged = signed(&header.to_string(), &claims, &EncodingKey::from_secret(key), Algorithm::HS256);
            case.refuses("a kid that leads elsewhere", &forged).await;
            case.refuses("a foreign kid over the right signature", &case.signs(&header, &case.claims)).await;
        }
        for kid in [Value::Null, json!(0), json!([case.forger.kid]), json!("x".repeat(3000))] {
            case.refuses("a kid of no sense", &case.signs(&with(&case.header, "kid", kid), &case.claims)).await;
        }
        case.refuses("no kid", &case.signs(&without(&case.header, "kid"), &case.claims)).await;

        let theirs = Forger::of(&case.app, case.door.other());
        let header = with(&case.header, "kid", json!(theirs.kid)).to_string();
        case.refuses("the other door's key under its name", &theirs.signs(&header, &claims, Algorithm::HS256)).await;
        let header = case.header.to_string();
        let secret = fs::read_to_string(case.app.dir.path().join("secret")).unwrap();
        let parts: Vec<&str> = case.real.split('.').collect();
        for guess in ["", "secret", secret.trim(), &secret, &case.forger.kid, parts[0], &case.app.url] {
            let forged = signed(&header, &claims, &EncodingKey::from_secret(guess.as_bytes()), Algorithm::HS256);
            case.refuses("a key that is none: the root secret is not one either", &forged).await;
        }
        case.refuses("the other door's key under ours", &theirs.signs(&header, &claims, Algorithm::HS256)).await;
        case.ends().await;
    }
}

#[tokio::test]
async fn every_claim_is_there_once_with_a_value_of_its_kind() {
    for door in Door::BOTH {
        let case = Case::at(door).await;
        let signed = |claims: &Value| case.signs(&case.header, claims);
        for name in ["iss", "aud", "sub", "sid", "iat", "exp"] {
            case.refuses("a claim that is missing", &signed(&without(&case.claims, name))).await;
            for value in [Value::Null, json!({}), json!([]), json!(true), json!([case.claims[name]])] {
                case.refuses("a claim of no sense", &signed(&with(&case.claims, name, value))).await;
            }
            // Two readers of a doubled claim may each see another value.
            let once = case.claims.to_string();
            for value in [case.claims[name].clone(), json!(LATE), json!("x")] {
                let first = format!("{{\"{name}\":{value},{}", &once[1..]);
                let last = format!("{},\"{name}\":{value}}}", &once[..once.len() - 1]);
                for doubled in [first, last] {
                    let token = case.forger.signs(&case.header.to_string(), &doubled, Algorithm::HS256);
                    case.refuses("a claim that comes twice", &token).await;
                }
            }
        }
        for exp in [json!("9999999999"), json!(9_999_999_999.5), json!(1e300), json!(u64::MAX), json!(0), json!(-1)] {
            case.refuses("an exp that is no time to come", &signed(&with(&case.claims, "exp", exp))).await;
        }
        for raw in ["9999999999.0", "1e10", "99999999999999999999999", "0x2540be3ff", "Infinity", "9999999999 "] {
            let claims = without(&case.claims, "exp").to_string();
            let claims = format!("{},\"exp\":{raw}}}", &claims[..claims.len() - 1]);
            let token = case.forger.signs(&case.header.to_string(), &claims, Algorithm::HS256);
            let well_written = raw.trim() == "9999999999";
            assert_eq!(case.door.opens(&case.app, &token).await, well_written, "exp: {raw}");
        }
        let (now, past) = (case.app.app.now().unix_timestamp(), case.app.app.now().unix_timestamp() - 1);
        case.refuses("a token that ends now", &signed(&with(&case.claims, "exp", json!(now)))).await;
        case.refuses("a token that has ended", &signed(&with(&case.claims, "exp", json!(past)))).await;
        case.refuses("a token of times to come", &signed(&with(&case.claims, "iat", json!(now + 3600)))).await;
        case.refuses("a token for times to come", &signed(&with(&case.claims, "nbf", json!(now + 3600)))).await;
        case.refuses("claims that are no object", &signed(&json!([case.claims]))).await;
        case.ends().await;
    }
}

#[tokio::test]
async fn a_token_is_for_this_site_this_door_and_this_user() {
    for door in Door::BOTH {
        let case = Case::at(door).await;
        case.app.user("eve", OTTER).await;
        let signed = |claims: &Value| case.signs(&case.header, claims);
        let other = case.door.other().token_of(&case.app, "sam").await;
        let parts: Vec<&str> = other.split('.').collect();
        let (other_header, other_claims) = (decoded(parts[0]), decoded(parts[1]));
        case.refuses("the other door's token", &other).await;
        for typ in [&other_header["typ"], &json!("JWT"), &json!(""), &Value::Null, &json!("jwt"), &json!(["x"])] {
            case.refuses("another typ", &case.signs(&with(&case.header, "typ", typ.clone()), &case.claims)).await;
        }
        case.refuses("no typ", &case.signs(&without(&case.header, "typ"), &case.claims)).await;
        let (own, theirs) = (case.claims["aud"].clone(), other_claims["aud"].clone());
        for aud in [theirs.clone(), json!("x"), json!(""), json!([own]), json!([own, theirs]), json!([])] {
            case.refuses("another aud", &signed(&with(&case.claims, "aud", aud))).await;
        }
        let site = case.claims["iss"].as_str().unwrap();
        for iss in [format!("{site}/"), site.replace("http", "https"), site.to_uppercase(), "https://a.example".into()]
        {
            case.refuses("another site", &signed(&with(&case.claims, "iss", iss.into()))).await;
        }

        // The row of a session says which user and which door it is for.
        let eve = case.door.token_of(&case.app, "eve").await;
        let eve_parts: Vec<&str> = eve.split('.').collect();
        let hers = decoded(eve_parts[1]);
        case.refuses("Eve's id in Sam's session", &signed(&with(&case.claims, "sub", hers["sub"].clone()))).await;
        case.refuses("Sam's id in Eve's session", &signed(&with(&case.claims, "sid", hers["sid"].clone()))).await;
        case.refuses("a session of the other door", &signed(&with(&case.claims, "sid", other_claims["sid"].clone())))
            .await;
        for unknown in [json!(Uuid::nil()), json!(Uuid::max()), json!(""), json!("sam"), json!("' OR 1=1 --"), json!(1)]
        {
            case.refuses("an id of no user", &signed(&with(&case.claims, "sub", unknown.clone()))).await;
            case.refuses("no session", &signed(&with(&case.claims, "sid", unknown))).await;
        }
        let sams: Vec<&str> = case.real.split('.').collect();
        case.refuses("Eve's claims under Sam's signature", &format!("{}.{}.{}", sams[0], eve_parts[1], sams[2])).await;
        case.refuses("Sam's claims under Eve's signature", &format!("{}.{}.{}", sams[0], sams[1], eve_parts[2])).await;
        case.ends().await;
    }
}

#[tokio::test]
async fn a_token_is_three_parts_spelt_as_we_spell_them() {
    for door in Door::BOTH {
        let case = Case::at(door).await;
        let real = case.real.as_str();
        let [header, claims, signature] = real.split('.').collect::<Vec<_>>()[..] else { panic!("{real}") };
        for length in [0, 1, header.len(), header.len() + 1, header.len() + claims.len() + 1, real.len() - 1] {
            case.refuses("the beginning of a token", &real[..length]).await;
        }
        for bent in [
            format!("{real}."),
            format!(".{real}"),
            format!("{real}.{signature}"),
            format!("{header}..{claims}.{signature}"),
            format!("{header}.{claims}.."),
            format!("..{signature}"),
            "..".into(),
            format!("{real}="),
            format!("{header}.{claims}==.{signature}"),
            format!("{header}=.{claims}.{signature}"),
            format!("{header}.{claims}.{signature}AA"),
            format!("{header}.{claims}.{}", "A".repeat(43)),
            format!("{header}.{claims}.{}", "A".repeat(6000)),
            format!("{real}%00"),
            format!("{header}.{claims}.+/{}", &signature[2..]),
            format!("{header}.{claims}.*{}", &signature[1..]),
            format!("{header}.{claims} .{signature}"),
            real.to_uppercase(),
            format!("{header}.{claims}.{}", STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap())),
            "x".repeat(7000),
        ] {
            case.refuses("a bent token", &bent).await;
        }
        // Two bits of the last of the 43 characters mean nothing, so the same bytes have another spelling. A list of texts
        // that are no longer accepted would not stop it.
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = letters.find(signature.chars().last().unwrap()).unwrap();
        let sibling = letters.as_bytes()[last ^ 1] as char;
        case.refuses("another spelling of the signature", &format!("{}{sibling}", &real[..real.len() - 1])).await;
        for header in ["", "{", "[]", "null", "\"HS256\"", "{\"alg\":\"HS256\"}", "\u{fffd}"] {
            let forged = case.forger.signs(header, &case.claims.to_string(), Algorithm::HS256);
            case.refuses("a header of no sense", &forged).await;
        }
        let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        case.refuses("claims as deep as can be", &case.forger.signs(&case.header.to_string(), &deep, Algorithm::HS256))
            .await;
        case.refuses(
            "a header as deep as can be",
            &case.forger.signs(&deep, &case.claims.to_string(), Algorithm::HS256),
        )
        .await;
        case.ends().await;
    }
}

#[tokio::test]
async fn a_token_of_another_instance_or_of_a_deleted_user_opens_nothing() {
    use latchkey::accounts::user::Entity;
    use sea_orm::EntityTrait;
    for door in Door::BOTH {
        let case = Case::at(door).await;
        // Another secret with the same address, as if the database had been copied without the secret.
        let twin = TestApp::start_with(&["--public-url", &case.app.url]).await;
        let foreign = Forger::of(&twin, door);
        let claims = case.claims.to_string();
        let under = |kid: &str| with(&case.header, "kid", kid.into()).to_string();
        case.refuses("another instance's token", &foreign.signs(&under(&foreign.kid), &claims, Algorithm::HS256)).await;
        let kid = under(&case.forger.kid);
        case.refuses("another instance's token, our kid", &foreign.signs(&kid, &claims, Algorithm::HS256)).await;

        assert!(door.opens(&case.app, &case.real).await);
        let user = case.claims["sub"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
        Entity::delete_by_id(user).exec(case.app.app.db.write()).await.unwrap();
        case.refuses("a deleted user's token", &case.real).await;
    }
}
