//! Languages: which one a visitor gets, and that none lacks a message.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use latchkey::locale::Locale;
use sea_orm::EntityTrait;

use crate::app::TestApp;
use crate::browser::{Browser, Page};
use crate::{HERON, OTTER};

fn speaks(page: &Page, tag: &str) {
    assert!(page.html.contains(&format!("<html lang=\"{tag}\" dir=\"ltr\">")), "{}: {}", page.path, page.html);
    assert_eq!(page.headers["content-language"], tag);
    let vary: Vec<_> = page.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(vary.join(", ").contains("Accept-Language") && vary.join(", ").contains("Cookie"), "{vary:?}");
}

/// Saves a language in the account, by its page.
async fn save(browser: &mut Browser, tag: &str) -> Page {
    let form = browser.open("/profile/language").await.form("/profile/language");
    browser.submit(form.fill("language", tag)).await
}

/// A browser set to Chinese.
fn in_chinese(app: &TestApp) -> Browser {
    let mut browser = app.browser();
    browser.language = Some("zh-TW,zh;q=0.9,en;q=0.1");
    browser
}

#[tokio::test]
async fn a_page_speaks_the_language_that_the_browser_asks_for() {
    let app = TestApp::start().await;
    let mut li = in_chinese(&app);
    for (path, heading) in [
        ("/", "欢迎"),
        ("/signup", "创建账号"),
        ("/login", "登录"),
        ("/forgot-password", "重置密码"),
        ("/reset-password", "此链接已失效"),
        ("/nowhere", "页面不存在"),
        ("/dev/mailbox", "开发环境收件箱"),
    ] {
        let page = li.open(path).await;
        speaks(&page, "zh-CN");
        assert_eq!(page.heading(), heading);
        assert_eq!(page.title(), format!("{heading} – Latchkey"));
    }
    let page = li.log_in("nobody", OTTER).await;
    assert_eq!(page.title(), "错误：登录 – Latchkey");
    assert_eq!(page.problems(), ["邮箱、用户名或密码不正确"]);
    let signup = li.open("/signup").await;
    assert!(signup.html.contains("至少 8 个字符，推荐用三个不相关的英文单词或拼音。"));

    let mut other = app.browser();
    other.language = Some("fr");
    speaks(&other.open("/login").await, "en");
    let app = TestApp::start_with(&["--language", "zh-CN"]).await;
    let mut other = app.browser();
    other.language = Some("fr");
    speaks(&other.open("/login").await, "zh-CN");
}

#[tokio::test]
async fn the_switch_in_the_footer_outlasts_the_page() {
    let app = TestApp::start().await;
    let mut li = app.browser();
    let page = li.open("/login?next=/profile/name").await;
    let link = "href=\"?next=/profile/name&#38;lang=zh-CN\"";
    assert!(page.html.contains(link), "{}", page.html);
    assert!(page.html.contains("lang=\"en\" hreflang=\"en\" aria-current=\"true\""));
    let switched = li.send(reqwest::Method::GET, "/login?next=/profile/name&lang=zh-CN", |request| request).await;
    assert_eq!(switched.status, 303);
    assert_eq!(switched.headers["location"], "/login?next=%2Fprofile%2Fname");
    let cookie = switched.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("Max-Age=31536000") && cookie.contains("HttpOnly"), "{cookie}");
    for path in ["/login", "/nowhere", "/signup"] {
        speaks(&li.open(path).await, "zh-CN");
    }
    // On a page that does not exist, the switch leads to the first page.
    assert!(li.open("/nowhere").await.html.contains("href=\"/?lang=en\""));
    speaks(&li.open("/?lang=en").await, "en");
    for odd in ["", "xx", "zh", "../en", "en%0d%0aset-cookie:%20a=b"] {
        let page = li.open(&format!("/login?lang={odd}")).await;
        speaks(&page, "en");
        assert_eq!(page.status, 200, "{odd}");
    }
    li.cookies.insert("latchkey_lang".into(), "tlh".into());
    speaks(&li.open("/login").await, "en");
}

#[tokio::test]
async fn what_a_user_has_chosen_goes_before_what_their_browser_asks_for() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let form = sam.open("/profile/language").await.form("/profile/language");
    assert!(form.fields.contains(&("language".into(), String::new())), "nothing was chosen: {form:?}");
    let page = sam.submit(form.fill("language", "zh-CN")).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/profile", "语言已修改。"));
    speaks(&page, "zh-CN");

    let mut elsewhere = app.browser();
    elsewhere.language = Some("en");
    speaks(&elsewhere.log_in("sam", OTTER).await, "zh-CN");
    let page = elsewhere.open("/profile/name").await;
    let page = elsewhere.submit(page.form("/profile/name").fill("full_name", &"x".repeat(101))).await;
    assert_eq!(page.problem_at("full_name").replace("错误：", ""), "称呼最多 100 个字符");

    speaks(&elsewhere.open("/profile?lang=en").await, "en");
    speaks(&sam.open("/profile").await, "zh-CN"); // the choice is the other browser's, not the user's
    let page =
        sam.submit(sam.clone().open("/profile/language").await.form("/profile/language").fill("language", "")).await;
    speaks(&page, "en");
    let page = sam.submit(page.form("/logout")).await;
    speaks(&page, "en");
    let mut li = in_chinese(&app);
    speaks(&li.log_in("sam", OTTER).await, "zh-CN");

    let form = li.open("/profile/language").await.form("/profile/language").fill("language", "tlh");
    let page = li.submit(form).await;
    page.assert_framed(422);
    assert_eq!(page.problems(), ["请从列表中选择一种语言"]);
}

#[tokio::test]
async fn a_language_that_was_chosen_before_the_account_comes_along() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.open("/?lang=zh-CN").await;
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let form = sam.open(&link).await.form("/signup/confirm");
    sam.submit(form).await;
    let mut elsewhere = app.browser();
    elsewhere.language = Some("en");
    speaks(&elsewhere.log_in("sam", OTTER).await, "zh-CN");
}

#[tokio::test]
async fn a_language_stays_with_its_account_and_not_with_the_browser() {
    let app = TestApp::start().await;
    let mut li = app.user("lina", OTTER).await;
    save(&mut li, "zh-CN").await;
    let mut sams = app.browser();
    let page = sams.log_in("lina", OTTER).await;
    speaks(&page, "zh-CN");
    let page = sams.submit(page.form("/logout")).await;
    speaks(&page, "en");
    sams.sign_up("sam@example.com", "sam", OTTER).await;
    assert!(app.letters_to("sam@example.com", 1).await[0].subject.starts_with("Confirm"));
}

#[tokio::test]
async fn a_user_who_never_chose_gets_emails_in_the_language_of_the_sign_up() {
    let app = TestApp::start().await;
    let mut li = in_chinese(&app);
    li.sign_up("li@example.com", "lina", OTTER).await;
    let form = li.open(&app.letters_to("li@example.com", 1).await[0].links[0]).await.form("/signup/confirm");
    li.submit(form).await;
    let mut eve = app.browser();
    eve.ask_reset("li@example.com").await;
    assert_eq!(app.letters_to("li@example.com", 2).await[0].subject, "重置你的 Latchkey 密码");
    li.language = Some("en");
    speaks(&li.open("/profile").await, "en");
}

#[tokio::test]
async fn the_switch_works_where_the_session_has_ended_and_keeps_where_to_go() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    let page = sam.open("/profile/name?lang=zh-CN").await;
    assert_eq!(page.path, "/login?next=%2Fprofile%2Fname");
    speaks(&page, "zh-CN");
    let page = sam.submit(page.form("/login").fill("login", "nobody").fill("password", OTTER)).await;
    page.assert_framed(422);
    assert!(page.html.contains("href=\"?next=%2Fprofile%2Fname&#38;lang=en\""), "{}", page.html);
}

#[tokio::test]
async fn no_link_changes_what_a_user_has_saved() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    save(&mut sam, "en").await;
    for site in [None, Some("same-origin"), Some("cross-site"), Some("same-site"), Some("none")] {
        let from = |request: reqwest::RequestBuilder| match site {
            Some(site) => request.header("sec-fetch-site", site),
            None => request,
        };
        let page = sam.send(reqwest::Method::GET, "/profile?lang=zh-CN", from).await;
        assert_eq!(page.status, 303);
        let mut elsewhere = in_chinese(&app);
        speaks(&elsewhere.log_in("sam", OTTER).await, "en");
    }
}

#[tokio::test]
async fn a_choice_in_this_browser_lasts_until_the_next_log_in_to_an_account_that_has_saved_one() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    sam.open("/profile?lang=zh-CN").await;
    sam.log_out().await;
    speaks(&sam.log_in("sam", OTTER).await, "zh-CN"); // nothing is saved yet
    speaks(&save(&mut sam, "en").await, "en");

    speaks(&sam.open("/profile/password?lang=zh-CN").await, "zh-CN");
    let form = sam.open("/profile/password").await.form("/profile/password");
    let page = sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert_eq!(page.path, "/profile/security");
    speaks(&page, "zh-CN"); // another session of the same user is no log-in
    assert_eq!(app.letters_to("sam@example.com", 2).await[0].subject, "Your Latchkey password was changed");
    let page = sam.log_out().await;
    speaks(&page, "zh-CN");
    speaks(&sam.log_in("sam", HERON).await, "en");
    assert!(!sam.cookies.contains_key("latchkey_lang"));
}

#[tokio::test]
async fn a_letter_speaks_the_language_of_its_recipient() {
    let app = TestApp::start().await;
    let mut li = in_chinese(&app);
    li.sign_up("li@example.com", "lina", OTTER).await;
    let letter = app.letters_to("li@example.com", 1).await.remove(0);
    assert_eq!(letter.subject, "验证邮箱，完成 Latchkey 账号创建");
    assert!(letter.text.contains("有人用邮箱 li@example.com 申请创建 Latchkey 账号"), "{}", letter.text);
    assert!(letter.html.contains("<html lang=\"zh-CN\""));
    let form = li.open(&letter.links[0]).await.form("/signup/confirm");
    speaks(&li.submit(form).await, "zh-CN");
    save(&mut li, "zh-CN").await;

    // Li gets Chinese emails, although an English page asked for them.
    let mut eve = app.browser();
    eve.language = Some("en");
    eve.ask_reset("li@example.com").await;
    assert_eq!(app.letters_to("li@example.com", 2).await[0].subject, "重置你的 Latchkey 密码");
    eve.sign_up("li@example.com", "eve", OTTER).await;
    assert_eq!(app.letters_to("li@example.com", 3).await[0].subject, "你已有 Latchkey 账号");

    let form = li.open("/profile/password").await.form("/profile/password");
    li.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert_eq!(app.letters_to("li@example.com", 4).await[0].subject, "你的 Latchkey 密码已修改");
    let row = latchkey::accounts::outbox::Entity::find().all(app.app.db.read()).await.unwrap().pop().unwrap();
    assert_eq!(row.locale, "zh-CN");
}

#[tokio::test]
async fn no_letter_or_page_has_invisible_marks() {
    let app = TestApp::start().await;
    let mut li = in_chinese(&app);
    li.sign_up("li@example.com", "lina", OTTER).await;
    let letter = app.letters_to("li@example.com", 1).await.remove(0);
    for text in [letter.subject, letter.text, letter.html, li.open("/signup").await.html] {
        assert!(!text.contains(['\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{200e}', '\u{200f}']), "{text}");
    }
}

/// Returns the names of the messages of a language.
fn messages(tag: &str) -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("locales").join(tag);
    let files = fs::read_dir(dir).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let names = |text: String| {
        text.lines().filter_map(|line| line.split_once(" =")).map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    files.flat_map(names).filter(|name| !name.starts_with([' ', '#', '{'])).collect()
}

#[test]
fn every_language_says_everything_and_nothing_more() {
    let english = messages("en");
    assert!(english.len() > 150);
    for locale in Locale::iter() {
        let theirs = messages(locale);
        let lacking: Vec<_> = english.difference(&theirs).collect();
        let unknown: Vec<_> = theirs.difference(&english).collect();
        assert!(lacking.is_empty() && unknown.is_empty(), "{locale} lacks {lacking:?} and alone has {unknown:?}");
        assert!(["ltr", "rtl"].contains(&locale.t().direction()), "{locale}");
    }
}

fn sources(dir: &str, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() { sources(&name, into) } else { into.push((name, fs::read_to_string(path).unwrap())) }
    }
}

#[test]
fn every_message_is_said_somewhere() {
    let mut all = vec![];
    sources("src", &mut all);
    sources("templates", &mut all);
    let text: String = all.into_iter().map(|(_, text)| text).collect();
    for message in messages("en") {
        let name = message.replace('-', "_");
        // A message is used by `t.name()`, or as the subject of an email.
        let said = match message {
            subject if subject.ends_with("-subject") => format!("}} {name}"),
            _ => format!("t.{name}("),
        };
        let said = [said, format!("t().{name}("), format!("other.{name}("), format!("locale.{name}(")];
        assert!(said.iter().any(|said| text.contains(said)), "nothing says {name}");
    }
}

#[test]
fn no_page_or_letter_has_words_of_its_own() {
    let mut all = vec![];
    sources("templates", &mut all);
    assert!(all.len() > 30);
    for (name, mut left) in all {
        for attribute in ["aria-label=\"", "title=\"", "alt=\"", "placeholder=\"", "description\" content=\""] {
            let words = left.split(attribute).skip(1).find(|rest| !rest.starts_with(['{', '"']));
            assert!(words.is_none(), "{name}: {attribute}{words:?}");
        }
        // Only the text is left, without comments, expressions and tags.
        let parts = [("<!--", "-->"), ("{#", "#}"), ("{%", "%}"), ("{{", "}}"), ("<style>", "</style>"), ("<", ">")];
        for (open, close) in parts {
            while let Some(start) = left.find(open) {
                let end = left[start..].find(close).unwrap_or_else(|| panic!("{name}: {open} without {close}"));
                left.replace_range(start..start + end + close.len(), " ");
            }
        }
        // These are no words of a page: text to type, attributes that a block puts into a tag, and blanks after a preheader.
        let typed = ["LATCHKEY_SMTP_URL", "latchkey", "mail-test"];
        let no_word = |word: &str| {
            typed.contains(&word)
                || word.contains("=\"")
                || word.starts_with(['-', '&'])
                || !word.contains(char::is_alphabetic)
        };
        let words: Vec<_> = left.split_whitespace().filter(|word| !no_word(word)).collect();
        assert!(words.is_empty(), "{name}: {words:?}");
    }
}
