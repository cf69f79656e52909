package auth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"firetower/core/auth"
	"firetower/core/gateway"
)

const secret = "0123456789abcdef0123456789abcdef"

// file writes a file and returns its name.
func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verifier makes one that goes by the secret.
func verifier(t testing.TB, change func(*auth.Options)) *auth.Verifier {
	t.Helper()
	o := auth.Options{SecretFile: file(t, "secret", []byte(secret+"\n"))}
	if change != nil {
		change(&o)
	}
	v, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func secretKey(t testing.TB, secret string) auth.SigningKey {
	t.Helper()
	k, err := auth.ReadSigningSecret(file(t, "secret", []byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signed(t testing.TB, k auth.SigningKey, token auth.Token) string {
	t.Helper()
	text, err := token.Sign(k, "")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raw makes a token by hand, whatever its header and claims say, signed with the secret.
func raw(t testing.TB, claims string) string {
	t.Helper()
	return rawWith(t, []byte(secret), claims)
}

// rawWith is raw with another secret.
func rawWith(t testing.TB, secret []byte, claims string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// reason is what a client is told of an error.
func reason(err error) string {
	var known *gateway.AuthenticationError
	if err == nil {
		return ""
	}
	if !errors.As(err, &known) {
		return "not an AuthenticationError: " + err.Error()
	}
	return known.Reason
}

func TestTokenSaysWhoAndWhat(t *testing.T) {
	v := verifier(t, func(o *auth.Options) {
		o.Subscribe, o.Publish = []string{"user.{user}", "news"}, []string{"chat.*"}
	})
	k := secretKey(t, secret)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, row := range []struct {
		name                     string
		token                    auth.Token
		user, subscribe, publish string
		expires                  time.Time
	}{
		{"of the configuration", auth.Token{User: "ann"}, "ann", "[user.ann news]", "[chat.*]", time.Time{}},
		{"of the token", auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{"a", "b.*"}, Publish: []string{"c"}}}, "ann", "[a b.*]", "[c]", time.Time{}},
		{"one of each", auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{"a"}}}, "ann", "[a]", "[chat.*]", time.Time{}},
		{"empty lists allow nothing", auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{}, Publish: []string{}}}, "ann", "[]", "[]", time.Time{}},
		{"nobody has no topic of a user", auth.Token{}, "", "[news]", "[chat.*]", time.Time{}},
		{"a star in a name is a star", auth.Token{User: "*"}, "*", "[user.* news]", "[chat.*]", time.Time{}},
		{"a name that looks like the place of one", auth.Token{User: "{user}"}, "{user}", "[user.{user} news]", "[chat.*]", time.Time{}},
		{"with an end", auth.Token{User: "ann", Expires: end}, "ann", "[user.ann news]", "[chat.*]", end.Add(auth.Leeway)},
	} {
		t.Run(row.name, func(t *testing.T) {
			who, err := v.Authenticate(request(signed(t, k, row.token)))
			if err != nil {
				t.Fatal(err)
			}
			if who.UserID != row.user || fmt.Sprint(who.Access.Subscribe) != row.subscribe || fmt.Sprint(who.Access.Publish) != row.publish ||
				!who.Access.Expires.Equal(row.expires) {
				t.Errorf("%q may subscribe to %v and publish to %v until %v", who.UserID, who.Access.Subscribe, who.Access.Publish, who.Access.Expires)
			}
			if row.user == "*" && who.Access.Subscribe[0].Prefix {
				t.Error("a name has made a prefix of a pattern")
			}
		})
	}
}

// Nobody gets a topic of somebody else by a name that holds what separates names in patterns.
func TestNamesWithSeparators(t *testing.T) {
	k := secretKey(t, secret)
	for _, row := range []struct {
		patterns  []string
		user      string
		subscribe string
	}{
		{[]string{"user.{user}.*"}, "ann", "[user.ann.*]"},
		{[]string{"user.{user}.*", "news"}, "ann.x", "[news]"},
		{[]string{"user/{user}/*"}, "a@b.co", "[user/a@b.co/*]"},
		{[]string{"user/{user}/*"}, "a/b", "[]"},
		{[]string{"user.{user}", "user.{user}.inbox"}, "ann.inbox", "[]"},
		{[]string{"user-{user}"}, "6f9619ff-8b86", "[user-6f9619ff-8b86]"},
		{[]string{"{user}|{user}"}, "a|a", "[]"},
		{[]string{"user.{user}", "user.inbox.{user}"}, "inbox.ann", "[]"},
		{[]string{"user.{user}", "user.inbox.{user}"}, "inbox-ann", "[user.inbox-ann user.inbox.inbox-ann]"},
		{[]string{"user.{user}", "group/{user}"}, "a.b/c", "[user.a.b/c group/a.b/c]"},
	} {
		v := verifier(t, func(o *auth.Options) { o.Subscribe = row.patterns })
		who, err := v.Authenticate(request(signed(t, k, auth.Token{User: row.user})))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(who.Access.Subscribe); got != row.subscribe || who.UserID != row.user {
			t.Errorf("%v for %q: %s, want %s", row.patterns, row.user, got, row.subscribe)
		}
	}
	// A separator of what may be published holds for what may be subscribed to, and the token's own patterns go by no name.
	v := verifier(t, func(o *auth.Options) { o.Subscribe, o.Publish = []string{"user.{user}"}, []string{"out.{user}.x"} })
	who, err := v.Authenticate(request(signed(t, k, auth.Token{User: "a.b", Permissions: auth.Permissions{Publish: []string{"p.{user}"}}})))
	if err != nil || len(who.Access.Subscribe) != 0 || fmt.Sprint(who.Access.Publish) != "[p.{user}]" {
		t.Errorf("%+v, %v", who.Access, err)
	}
}

func TestTokensThatAreRejected(t *testing.T) {
	registry := prometheus.NewRegistry()
	v := verifier(t, func(o *auth.Options) { o.Issuer, o.Audience, o.Registry = "https://id.example", "push", registry })
	k, now := secretKey(t, secret), time.Now()
	good := auth.Token{User: "ann", Issuer: "https://id.example", Audience: "push", IssuedAt: now, Expires: now.Add(time.Hour)}
	with := func(change func(*auth.Token)) string {
		token := good
		change(&token)
		return signed(t, k, token)
	}
	if _, err := v.Authenticate(request(signed(t, k, good))); err != nil {
		t.Fatal(err)
	}
	whole := signed(t, k, good)
	parts := strings.Split(whole, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	named, err := good.Sign(k, "another")
	if err != nil {
		t.Fatal(err)
	}
	const claims = `{"iss":"https://id.example","aud":"push"`
	for _, row := range []struct {
		name, token, reason string
	}{
		{"no token", "", "no token"},
		{"no JWT", "hello", "token is malformed"},
		{"cut", whole[:len(whole)-3], "token's signature is wrong"},
		{"another's claims", parts[0] + "." + encode(claims+`,"sub":"bob"}`) + "." + parts[2], "token's signature is wrong"},
		{"another secret", signed(t, secretKey(t, strings.ToUpper(secret)), good), "token's signature is wrong"},
		{"algorithm none", encode(`{"alg":"none"}`) + "." + parts[1] + ".", "token is malformed"},
		{"algorithm none with a signature", encode(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], "token is malformed"},
		{"an algorithm that no key is for", encode(`{"alg":"RS256"}`) + "." + parts[1] + "." + parts[2], "token is malformed"},
		{"a critical header", encode(`{"alg":"HS256","crit":["x"],"x":1}`) + "." + parts[1] + "." + parts[2], "token's claims are malformed"},
		{"expired", with(func(t *auth.Token) { t.Expires = now.Add(-auth.Leeway - 2*time.Second) }), "token has expired"},
		{"from the future", with(func(t *auth.Token) { t.IssuedAt = now.Add(auth.Leeway + time.Minute) }), "token is not valid yet"},
		{"not before", raw(t, fmt.Sprintf(`%s,"nbf":%d}`, claims, now.Add(time.Hour).Unix())), "token is not valid yet"},
		{"no issuer", with(func(t *auth.Token) { t.Issuer = "" }), "token is from another issuer"},
		{"another issuer", with(func(t *auth.Token) { t.Issuer = "https://id.example/" }), "token is from another issuer"},
		{"no audience", with(func(t *auth.Token) { t.Audience = "" }), "token is for another audience"},
		{"another audience", with(func(t *auth.Token) { t.Audience = "Push" }), "token is for another audience"},
		{"sub is a number", raw(t, claims+`,"sub":1}`), "token's claims are malformed"},
		{"exp is text", raw(t, claims+`,"exp":"soon"}`), "token's claims are malformed"},
		{"claims are a list", raw(t, `[]`), "token's claims are malformed"},
		{"claims are no JSON", raw(t, `hello`), "token's claims are malformed"},
		{"firetower is text", raw(t, claims+`,"firetower":"*"}`), "token's claims are malformed"},
		{"patterns are text", raw(t, claims+`,"firetower":{"subscribe":"*"}}`), "token's claims are malformed"},
		{"no pattern", raw(t, claims+`,"firetower":{"publish":["a b"]}}`), "token's claims are malformed"},
		{"an empty pattern", raw(t, claims+`,"firetower":{"subscribe":[""]}}`), "token's claims are malformed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			who, err := v.Authenticate(request(row.token))
			if got := reason(err); got != row.reason || who.Access != nil || who.UserID != "" {
				t.Errorf("%q (%v), want %q; identity %+v", got, err, row.reason, who)
			}
		})
	}
	// Without keys that have names a name says nothing.
	if _, err := v.Authenticate(request(named)); err != nil {
		t.Errorf("a token that names a key: %v", err)
	}
	if n, err := testutil.GatherAndCount(registry, "firetower_gateway_tokens_rejected_total"); err != nil || n != 10 {
		t.Errorf("%d series, %v", n, err)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP firetower_gateway_tokens_rejected_total Tokens that were not taken, by reason.
# TYPE firetower_gateway_tokens_rejected_total counter
firetower_gateway_tokens_rejected_total{reason="audience"} 2
firetower_gateway_tokens_rejected_total{reason="claims"} 9
firetower_gateway_tokens_rejected_total{reason="expired"} 1
firetower_gateway_tokens_rejected_total{reason="issuer"} 2
firetower_gateway_tokens_rejected_total{reason="malformed"} 4
firetower_gateway_tokens_rejected_total{reason="missing"} 1
firetower_gateway_tokens_rejected_total{reason="not_yet_valid"} 2
firetower_gateway_tokens_rejected_total{reason="other_user"} 0
firetower_gateway_tokens_rejected_total{reason="signature"} 3
firetower_gateway_tokens_rejected_total{reason="unknown_key"} 0
`)); err != nil {
		t.Error(err)
	}
}

func TestClocksMayDiffer(t *testing.T) {
	v, k, now := verifier(t, nil), secretKey(t, secret), time.Now()
	for _, token := range []auth.Token{
		{Expires: now.Add(-auth.Leeway / 2)},
		{IssuedAt: now.Add(auth.Leeway / 2), Expires: now.Add(time.Hour)},
	} {
		who, err := v.Authenticate(request(signed(t, k, token)))
		if err != nil {
			t.Errorf("%+v: %v", token, err)
		} else if !who.Access.Expires.After(now) {
			t.Errorf("let in until %v, which is over", who.Access.Expires)
		}
	}
}

func TestWhereATokenMayStand(t *testing.T) {
	v := verifier(t, func(o *auth.Options) { o.Cookie = "session" })
	token := signed(t, secretKey(t, secret), auth.Token{User: "ann"})
	for _, row := range []struct {
		name, user, reason string
		change             func(*http.Request)
	}{
		{"header", "ann", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }},
		{"header in other letters", "ann", "", func(r *http.Request) { r.Header.Set("Authorization", "bearer  "+token) }},
		{"parameter", "ann", "", func(r *http.Request) { r.URL.RawQuery = "x=1&token=" + token }},
		{"cookie", "ann", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: token}) }},
		{"another cookie", "", "no token", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "token", Value: token}) }},
		{"another scheme", "", "no token", func(r *http.Request) { r.Header.Set("Authorization", "Basic "+token) }},
		{"another scheme beside a parameter", "ann", "", func(r *http.Request) {
			r.Header.Set("Authorization", "Basic eA==")
			r.URL.RawQuery = "token=" + token
		}},
		{"the header counts first", "", "token is malformed", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer x")
			r.URL.RawQuery = "token=" + token
		}},
		{"empty header", "", "token is malformed", func(r *http.Request) { r.Header.Set("Authorization", "Bearer") }},
		{"empty parameter", "", "token is malformed", func(r *http.Request) { r.URL.RawQuery = "token=" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := request("")
			row.change(r)
			who, err := v.Authenticate(r)
			if who.UserID != row.user || reason(err) != row.reason {
				t.Errorf("%q, %v", who.UserID, err)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	v := verifier(t, func(o *auth.Options) {
		o.Anonymous, o.Subscribe, o.Publish = true, []string{"news", "user.{user}"}, nil
	})
	who, err := v.Authenticate(request(""))
	if err != nil || who.UserID != "" || fmt.Sprint(who.Access.Subscribe) != "[news]" || len(who.Access.Publish) != 0 {
		t.Errorf("%+v, %v", who.Access, err)
	}
	// A token that is there has to be good.
	if _, err := v.Authenticate(request("x")); reason(err) != "token is malformed" {
		t.Error(err)
	}
}

func TestRefreshIsForTheSameUser(t *testing.T) {
	v, k := verifier(t, nil), secretKey(t, secret)
	token := signed(t, k, auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{"a"}}})
	access, err := v.RefreshUser("ann", token)
	if err != nil || fmt.Sprint(access.Subscribe) != "[a]" {
		t.Errorf("%+v, %v", access, err)
	}
	for _, user := range []string{"bob", "", "Ann"} {
		if access, err := v.RefreshUser(user, token); access != nil || reason(err) != "token is another user's" {
			t.Errorf("%q: %+v, %v", user, access, err)
		}
	}
	if _, err := v.RefreshUser("ann", "x"); reason(err) != "token is malformed" {
		t.Error(err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, p := range append(pairs(b), pair{name: "secret"}) {
		b.Run(p.name, func(b *testing.B) {
			var v *auth.Verifier
			var k auth.SigningKey
			if p.private == nil {
				v, k = verifier(b, nil), secretKey(b, secret)
			} else {
				v = verifier(b, func(o *auth.Options) { o.SecretFile, o.KeysFile = "", file(b, "k", publicPEM(b, p.private)) })
				k = signingKey(b, p.private)
			}
			r := request(signed(b, k, auth.Token{User: "ann", Expires: time.Now().Add(time.Hour)}))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
