//! The JSON door as the tools of others use it. They know only `/openapi.json`, OAuth 2 and README.

use std::fs;
use std::path::Path;
use std::process::Command;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::OTTER;
use crate::process::Process;

/// A server, and a folder for the files that the tools write.
pub struct Workshop {
    pub server: Process,
    pub dir: TempDir,
}

impl Workshop {
    pub async fn open() -> Self {
        crate::needs("Python");
        let server = Process::serving(&[("LATCHKEY_RATE_LIMITS", "off")]).await;
        Self { server, dir: tempfile::tempdir().unwrap() }
    }

    /// Returns a command in the folder. The program may be one that `./check` installs.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools/python/bin");
        assert!(tools.exists(), "there is no {}: run ./check, which installs it", tools.display());
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let at = tools.join(program);
        let mut command = Command::new(if at.exists() { at } else { program.into() });
        // The settings of this machine must not count, above all those of a proxy.
        command.args(arguments).env_clear().env("PATH", path).env("HOME", self.dir.path()).env("LANG", "C.UTF-8");
        command.current_dir(self.dir.path());
        command
    }

    /// Runs a program and returns its output. It must succeed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().unwrap();
        let streams = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{program}: {}\n{}\n{}", output.status, streams.join("\n"), self.server.log());
        streams.into_iter().next().unwrap()
    }

    /// Registers an app. Returns its `client_id` and its `client_secret`, which is empty if it has none.
    pub fn register(&self, name: &str, more: &[&str]) -> [String; 2] {
        let added = self.server.done(&[&["app", "add", name, "--json"], more].concat());
        let app: Value = serde_json::from_str(&added).unwrap();
        ["client_id", "client_secret"].map(|name| app[name].as_str().unwrap_or_default().to_owned())
    }

    /// Makes an RSA key. Returns its private half as PEM, and the path of a file with its public half as JWK.
    pub fn key(&self) -> (String, String) {
        let pem = self.run("openssl", &["genrsa", "2048"]);
        let file = self.dir.path().join("key.pem");
        fs::write(&file, &pem).unwrap();
        let der = ["rsa", "-traditional", "-outform", "DER", "-in", file.to_str().unwrap()];
        let der = self.command("openssl", &der).output().unwrap().stdout;
        let jwk = Jwk::from_encoding_key(&EncodingKey::from_rsa_der(&der), Algorithm::RS256).unwrap();
        let public = self.dir.path().join("jwks.json");
        fs::write(&public, json!({ "keys": [jwk] }).to_string()).unwrap();
        (pem, public.to_str().unwrap().to_owned())
    }

    /// Creates Sam's account and returns a token of it.
    async fn token(&self) -> String {
        self.server.user("sam", OTTER).await;
        let form = [("username", "sam"), ("password", OTTER)];
        let asked = reqwest::Client::new().post(format!("{}/token", self.server.url)).form(&form).send();
        let token: Value = asked.await.unwrap().json().await.unwrap();
        token["access_token"].as_str().unwrap().to_owned()
    }
}

/// Returns the path of a file of these tests.
pub fn ours(name: &str) -> String {
    format!("{}/tests/it/tools/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn schemathesis_finds_no_answer_that_is_not_described() {
    let workshop = Workshop::open().await;
    let authorization = format!("Authorization: Bearer {}", workshop.token().await);
    let (document, settings) = (format!("{}/openapi.json", workshop.server.url), ours("schemathesis.toml"));
    let run = ["--no-color", "--config-file", &settings, "run", &document, "--continue-on-failure"];
    for more in [&[][..], &["--header", &authorization]] {
        let output = workshop.run("schemathesis", &[&run[..], more].concat());
        assert!(output.contains("6 selected / 6 total") && output.contains("Tested: 6"), "{output}");
        let refused = output.contains("1 operation returned only 401/403");
        assert_eq!(refused, more.is_empty(), "the token opens: {output}");
    }
    assert!(!workshop.server.log().contains("ERROR"), "{}", workshop.server.log());
}

#[tokio::test]
async fn a_generated_client_lives_the_whole_life_of_an_account() {
    let workshop = Workshop::open().await;
    let document = format!("{}/openapi.json", workshop.server.url);
    let generate = ["generate", "--url", &document, "--meta", "none", "--output-path", "door", "--fail-on-warning"];
    workshop.run("openapi-python-client", &generate);
    workshop.run("python", &[&ours("client.py"), &workshop.server.url]);
}

#[tokio::test]
async fn an_oauth_client_gets_a_token_and_uses_it() {
    let workshop = Workshop::open().await;
    workshop.server.user("sam", OTTER).await;
    workshop.run("python", &[&ours("oauth.py"), &workshop.server.url, "sam", OTTER]);
}

#[tokio::test]
async fn an_openid_client_logs_a_user_in_by_the_whole_way() {
    let workshop = Workshop::open().await;
    workshop.server.user("sam", OTTER).await;
    let callback = "http://127.0.0.1:8000/callback";
    let [id, secret] = workshop.register("Wiki", &["--redirect-uri", callback]);
    let (key, public) = workshop.key();
    let [signing, _] = workshop.register("Signing", &["--redirect-uri", callback, "--jwks", &public]);
    for (id, shown) in [(&id, &secret), (&signing, &key)] {
        workshop.run("python", &[&ours("oidc.py"), &workshop.server.url, id, shown, callback, "sam", OTTER]);
    }
}

#[tokio::test]
async fn the_session_in_readme_does_what_it_says() {
    let readme = include_str!("../../README.md");
    let section = readme.split("\n## The JSON door\n").nth(1).expect("the section");
    let session = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the session");
    let workshop = Workshop::open().await;
    let session = session.replace("http://localhost:3000", &workshop.server.url);
    let output = workshop.run("bash", &["-euc", &session]);
    let lines: Vec<_> = output.lines().collect();
    let endings = [
        r#"{"message":"We emailed you a link. Open it to finish creating your account."} 202"#,
        " 303",
        r#""username":"sam","email":"sam@example.com","full_name":"Sam Smith"} 200"#,
        r#"It works for 1 hour."} 202"#,
        r#"All devices have been logged out."} 200"#,
        r#"{"detail":"Could not validate credentials"} 401"#,
        r#""username":"sam","email":"sam@example.com","full_name":"Sam Smith"} 200"#,
    ];
    assert_eq!(lines.len(), endings.len(), "{output}");
    assert!(lines.iter().zip(endings).all(|(line, ending)| line.ends_with(ending)), "{output}");
}
