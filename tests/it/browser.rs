//! A browser without script. It keeps cookies, follows redirects, and submits the real forms that it finds.

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT_LANGUAGE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use scraper::{ElementRef, Html, Selector};

/// A browser.
#[derive(Clone)]
pub struct Browser {
    client: Client,
    pub base: String,
    /// The address of the site, if `base` is that of one of several servers behind it.
    pub site: Option<String>,
    /// The cookies that it keeps. An attack changes them.
    pub cookies: BTreeMap<String, String>,
    /// The value of `Accept-Language`.
    pub language: Option<&'static str>,
    /// The value of `User-Agent`.
    pub user_agent: Option<&'static str>,
}

/// A page as the browser got it.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub path: String,
    pub html: String,
    pub headers: reqwest::header::HeaderMap,
}

/// A form that was found on a page.
#[derive(Clone, Debug)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Browser {
    pub fn new(base: &str) -> Self {
        Self::over(Client::builder().redirect(redirect::Policy::none()).build().unwrap(), base)
    }

    /// Returns a browser over this client, which must not follow redirects by itself.
    pub fn over(client: Client, base: &str) -> Self {
        Self { client, base: base.to_owned(), site: None, cookies: BTreeMap::new(), language: None, user_agent: None }
    }

    fn address(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// Sends one request and follows no redirect.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Page {
        let request = self.client.request(method.clone(), self.address(path));
        let site = self.site.as_ref().unwrap_or(&self.base);
        let mut request = if method == Method::POST { request.header(ORIGIN, site) } else { request };
        if let Some((_, host)) = self.site.as_ref().and_then(|site| site.split_once("://")) {
            request = request.header(HOST, host);
        }
        for (name, value) in [(ACCEPT_LANGUAGE, self.language), (USER_AGENT, self.user_agent)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if !self.cookies.is_empty() {
            let all: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, all.join("; "));
        }
        let response = with(request).send().await.unwrap();
        self.keep_cookies(&response);
        let (status, headers) = (response.status(), response.headers().clone());
        let path = response.url()[url::Position::BeforePath..].to_owned();
        Page { status, path, html: response.text().await.unwrap(), headers }
    }

    fn keep_cookies(&mut self, response: &Response) {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..5 {
            let Some(next) = page.headers.get(LOCATION) else { return page };
            let next = next.to_str().unwrap().to_owned();
            page = self.send(Method::GET, &next, |request| request).await;
        }
        panic!("redirected in circles, at last to {}", page.path)
    }

    /// Opens an address.
    pub async fn open(&mut self, path: &str) -> Page {
        let page = self.send(Method::GET, path, |request| request).await;
        self.follow(page).await
    }

    /// Submits a form and follows where it leads.
    pub async fn submit(&mut self, form: Form) -> Page {
        let page = self.post(&form.action, &form.fields).await;
        self.follow(page).await
    }

    /// Posts fields without opening a page first, and follows no redirect.
    pub async fn post<N: AsRef<str>, V: AsRef<str>>(&mut self, path: &str, fields: &[(N, V)]) -> Page {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        self.send(Method::POST, path, |request| request.form(&fields)).await
    }

    /// Signs up with the form of the page.
    pub async fn sign_up(&mut self, email: &str, username: &str, password: &str) -> Page {
        let form = self.open("/signup").await.form("/signup");
        self.submit(form.fill("email", email).fill("username", username).fill("password", password)).await
    }

    /// Asks for a reset link with the form of the page.
    pub async fn ask_reset(&mut self, email: &str) -> Page {
        let form = self.open("/forgot-password").await.form("/forgot-password").fill("email", email);
        self.submit(form).await
    }

    /// Logs in with the form of the page.
    pub async fn log_in(&mut self, login: &str, password: &str) -> Page {
        let form = self.open("/login").await.form("/login").fill("login", login).fill("password", password);
        self.submit(form).await
    }

    /// Logs out with the form of the page.
    pub async fn log_out(&mut self) -> Page {
        let form = self.open("/profile").await.form("/logout");
        self.submit(form).await
    }

    /// Chooses a new password on the page behind a mailed link.
    pub async fn reset(&mut self, link: &str, password: &str) -> Page {
        let form = self.open(link).await.form("/reset-password").fill("password", password);
        self.submit(form).await
    }

    /// Returns whether the profile opens.
    pub async fn is_logged_in(&mut self) -> bool {
        self.open("/profile").await.path == "/profile"
    }
}

impl Page {
    /// Returns the text of each element that a selector finds, with single blanks.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        self.all(selector).iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// Returns the text of each element that a selector finds.
    pub fn all(&self, selector: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        let text = |element: ElementRef| element.text().collect::<String>().trim().to_owned();
        Html::parse_document(&self.html).select(&selector).map(text).collect()
    }

    /// Returns the words of each link, and where it leads.
    pub fn links(&self) -> Vec<(String, String)> {
        let link = Selector::parse("a[href]").unwrap();
        let read = |link: ElementRef| {
            (link.text().collect::<String>().trim().to_owned(), link.attr("href").unwrap().to_owned())
        };
        Html::parse_document(&self.html).select(&link).map(read).collect()
    }

    /// Returns the form that posts to `action`, with the fields as the page fills them.
    pub fn form(&self, action: &str) -> Form {
        let document = Html::parse_document(&self.html);
        let form = Selector::parse(&format!("form[method=post][action='{action}']")).unwrap();
        let form = document
            .select(&form)
            .next()
            .unwrap_or_else(|| panic!("no form for {action} on {}: {}", self.path, self.html));
        let input = Selector::parse("input[name]").unwrap();
        let ticked = |input: &ElementRef| input.attr("type") != Some("checkbox") || input.attr("checked").is_some();
        let name = |field: ElementRef| field.attr("name").unwrap().to_owned();
        let value = |field: ElementRef| field.attr("value").unwrap_or_default().to_owned();
        let inputs = form.select(&input).filter(ticked).map(|input| (name(input), value(input)));
        let (select, chosen) = (Selector::parse("select").unwrap(), Selector::parse("option[selected]").unwrap());
        let selects = form.select(&select).map(|field| (name(field), field.select(&chosen).map(value).collect()));
        Form { action: action.to_owned(), fields: inputs.chain(selects).collect() }
    }

    /// Returns the title of the page.
    pub fn title(&self) -> String {
        self.all("title").concat()
    }

    /// Returns the heading of the page.
    pub fn heading(&self) -> String {
        assert_eq!(self.all("h1").len(), 1, "one h1 on {}", self.path);
        self.all("h1").concat()
    }

    /// Returns what the page says once, after something was done.
    pub fn flash(&self) -> String {
        self.all("[role=status]").concat()
    }

    /// Returns the words in the summary of problems.
    pub fn problems(&self) -> Vec<String> {
        self.all("#errors li")
    }

    /// Returns the words of the problem at one field.
    pub fn problem_at(&self, field: &str) -> String {
        self.all(&format!("#{field}-error")).concat().replace("Error: ", "")
    }

    /// Returns whether a field is marked as invalid.
    pub fn is_marked(&self, field: &str) -> bool {
        self.all(&format!(".invalid [name='{field}'][aria-invalid=true]")).len() == 1
    }

    /// Returns the value of a field.
    pub fn value_of(&self, field: &str) -> String {
        self.value_at(&format!("input[name='{field}']"))
    }

    /// Returns the value of the first field that a selector finds.
    pub fn value_at(&self, selector: &str) -> String {
        let selector = Selector::parse(selector).unwrap();
        let document = Html::parse_document(&self.html);
        document.select(&selector).next().and_then(|input| input.attr("value")).unwrap_or_default().to_owned()
    }

    /// Asserts that this is a page of ours with this status: the frame, one heading, and the headers of every response.
    pub fn assert_framed(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.path, self.html);
        assert!(
            self.html.contains("<footer class=\"foot\">") && !self.heading().is_empty(),
            "{}: {}",
            self.path,
            self.html
        );
        assert!(self.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert_eq!(self.headers["x-content-type-options"], "nosniff");
        self
    }
}

impl Form {
    /// Fills a field in.
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}
