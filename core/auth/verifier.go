package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/prometheus/client_golang/prometheus"

	"firetower/core/filewatch"
	"firetower/core/gateway"
)

// Options configure a Verifier. SecretFile or KeysFile is needed; with both, tokens of either are good.
type Options struct {
	// SecretFile holds the secret of HS256, of at least MinSecretBytes; with 48 bytes it does for HS384 too, with 64
	// for HS512.
	SecretFile string
	// KeysFile holds public keys of RS*, PS*, ES* and EdDSA: a JSON Web Key Set or PEM.
	KeysFile string
	// ReloadInterval is how often the files are looked at, when a client connects, at the most; 0 is never,
	// so that Reload alone reads them again.
	ReloadInterval time.Duration
	// Issuer and Audience, when set, are what the claims iss and aud must say, or name among others.
	Issuer, Audience string
	// Cookie names a cookie that may hold the token; empty is none.
	Cookie string
	// Anonymous lets in clients without a token, who may do what Subscribe and Publish say.
	Anonymous bool
	// Subscribe and Publish are the patterns of topics (gateway.ParseTopicPattern) for those whose token
	// names none. {user} in one stands for the token's sub. So that nobody gets what is another's, a user whose
	// name holds what parts names from the rest of a pattern, or who has no name, gets none with {user}; and
	// what parts them must be no letter or digit, nor the star of a beginning.
	Subscribe, Publish []string
	// Registry takes the metrics; nil is none.
	Registry prometheus.Registerer
	// Logger takes the log; nil discards it.
	Logger *slog.Logger
}

// QueryParameter is the URL's parameter that may hold the token, for browsers, which cannot set
// headers of a WebSocket's handshake.
const QueryParameter = "token"

// Leeway is by how much clocks may differ between who signs tokens and who checks them.
const Leeway = 10 * time.Second

// Rejection says why a token was not taken, as the label of firetower_gateway_tokens_rejected_total.
type Rejection string

// The rejections.
const (
	// RejectedMissing: there is no token.
	RejectedMissing Rejection = "missing"
	// RejectedMalformed: it is no signed JSON Web Token, or of an algorithm that no key here is for.
	RejectedMalformed Rejection = "malformed"
	// RejectedKey: it names a key that is not here.
	RejectedKey Rejection = "unknown_key"
	// RejectedSignature: it is not signed by a key that is here.
	RejectedSignature Rejection = "signature"
	// RejectedClaims: its claims are not what they should be, such as a pattern of topics, a list, or a time; or
	// its header demands what there is not.
	RejectedClaims Rejection = "claims"
	// RejectedExpired: its time is over.
	RejectedExpired Rejection = "expired"
	// RejectedEarly: its time has not come.
	RejectedEarly Rejection = "not_yet_valid"
	// RejectedIssuer and RejectedAudience: it is from, or for, somebody else.
	RejectedIssuer   Rejection = "issuer"
	RejectedAudience Rejection = "audience"
	// RejectedUser: it is to take the place of another user's.
	RejectedUser Rejection = "other_user"
)

// reasons are what a client is told of each.
var reasons = map[Rejection]string{
	RejectedMissing:   "no token",
	RejectedMalformed: "token is malformed",
	RejectedKey:       "token is signed with an unknown key",
	RejectedSignature: "token's signature is wrong",
	RejectedClaims:    "token's claims are malformed",
	RejectedExpired:   "token has expired",
	RejectedEarly:     "token is not valid yet",
	RejectedIssuer:    "token is from another issuer",
	RejectedAudience:  "token is for another audience",
	RejectedUser:      "token is another user's",
}

// Verifier checks tokens. Its methods may be called from any goroutine.
type Verifier struct {
	opts               Options
	log                *slog.Logger
	now                func() time.Time
	subscribe, publish []gateway.TopicPattern
	separators         string // what no user's name holds that is put into them
	rejected           map[Rejection]prometheus.Counter

	keys   atomic.Pointer[[]key]
	looked atomic.Int64 // when the files were looked at, in ns since 1970

	mu    sync.Mutex // held while files are read; guards the following
	files *filewatch.Files
}

// New makes a Verifier. Its error names the option that cannot work, or the file.
func New(o Options) (*Verifier, error) {
	v := &Verifier{opts: o, log: o.Logger, now: time.Now, rejected: make(map[Rejection]prometheus.Counter)}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	v.subscribe, v.publish, v.separators, _ = o.patterns() // Validate has seen to it
	v.files = filewatch.New(slices.DeleteFunc([]string{o.SecretFile, o.KeysFile}, func(name string) bool { return name == "" })...)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.loadLocked(); err != nil {
		return nil, err
	}
	return v, v.register()
}

// register makes the metrics.
func (v *Verifier) register() error {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "firetower_gateway_tokens_rejected_total", Help: "Tokens that were not taken, by reason.",
	}, []string{"reason"})
	for r := range reasons {
		v.rejected[r] = vec.WithLabelValues(string(r))
	}
	if v.opts.Registry == nil {
		return nil
	}
	return v.opts.Registry.Register(vec)
}

// Validate reports every option that cannot work, by key. It does not look at files.
func (o *Options) Validate() error {
	var errs [3]error
	if o.SecretFile == "" && o.KeysFile == "" {
		errs[0] = errors.New("auth.secretFile or auth.keysFile: one must be set")
	}
	_, _, _, errs[1] = o.patterns()
	if o.ReloadInterval < 0 {
		errs[2] = fmt.Errorf("auth.reloadInterval: must be >= 0s, got %v", o.ReloadInterval)
	}
	return errors.Join(errs[:]...)
}

// patterns reads the patterns, and the separators of names in them.
func (o *Options) patterns() (subscribe, publish []gateway.TopicPattern, separators string, err error) {
	subscribe, err = parsePatterns("auth.subscribe", o.Subscribe)
	publish, errPublish := parsePatterns("auth.publish", o.Publish)
	if err = errors.Join(err, errPublish); err != nil {
		return nil, nil, "", err
	}
	separators, err = separatorsOf(map[string][]gateway.TopicPattern{"auth.subscribe": subscribe, "auth.publish": publish})
	return subscribe, publish, separators, err
}

func parsePatterns(name string, texts []string) ([]gateway.TopicPattern, error) {
	patterns := make([]gateway.TopicPattern, len(texts))
	for i, text := range texts {
		var err error
		if patterns[i], err = gateway.ParseTopicPattern(text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return patterns, nil
}

// Reload reads the files again. On an error, which is logged too, the keys before stay in force.
func (v *Verifier) Reload() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reloadLocked()
}

func (v *Verifier) reloadLocked() error {
	err := v.loadLocked()
	if err != nil {
		v.log.Error("keys of tokens not reloaded, those before stay in force", "err", err)
		return err
	}
	v.log.Info("keys of tokens reloaded", "keys", len(*v.keys.Load()))
	return nil
}

func (v *Verifier) loadLocked() error {
	v.looked.Store(v.now().UnixNano())
	v.files.Changed() // before they are read
	var keys []key
	if name := v.opts.SecretFile; name != "" {
		k, err := readSecret(name)
		if err != nil {
			return fmt.Errorf("auth.secretFile: %w", err)
		}
		keys = append(keys, k)
	}
	if name := v.opts.KeysFile; name != "" {
		public, skipped, err := readKeys(name)
		if err != nil {
			return fmt.Errorf("auth.keysFile: %w", err)
		}
		for _, why := range skipped {
			v.log.Warn("a key that cannot sign tokens is skipped", "file", name, "key", why)
		}
		keys = append(keys, public...)
	}
	v.keys.Store(&keys)
	return nil
}

// current returns the keys in force, after a look at the files when the last one is so long ago. Who comes while
// somebody else looks goes by the keys before.
func (v *Verifier) current() *[]key {
	if v.due(v.opts.ReloadInterval) && v.mu.TryLock() {
		defer v.mu.Unlock()
		v.lookLocked(v.opts.ReloadInterval)
	}
	return v.keys.Load()
}

// after returns the keys in force after a look at the files that somebody takes now, or took a moment ago: those
// before did not do.
func (v *Verifier) after(before *[]key) *[]key {
	if v.opts.ReloadInterval == 0 {
		return before
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys.Load() == before {
		v.lookLocked(soonest)
	}
	return v.keys.Load()
}

// due tells whether the last look at the files was so long ago.
func (v *Verifier) due(ago time.Duration) bool {
	return v.opts.ReloadInterval > 0 && v.now().UnixNano()-v.looked.Load() >= int64(ago)
}

func (v *Verifier) lookLocked(ago time.Duration) {
	if !v.due(ago) {
		return
	}
	v.looked.Store(v.now().UnixNano())
	if v.files.Changed() {
		_ = v.reloadLocked() // it has logged
	}
}

// soonest is how long ago the last look at the files must be when a token is signed with what is not there: who
// signs may have a new key before this gateway has seen it.
const soonest = time.Second

// Authenticate is for gateway.Options. It takes the token of the header Authorization (Bearer, RFC 6750
// section 2.1), of the URL's parameter "token", or of the cookie, the first that is there.
func (v *Verifier) Authenticate(r *http.Request) (gateway.Identity, error) {
	token, ok := v.find(r)
	if !ok {
		if !v.opts.Anonymous {
			return gateway.Identity{}, v.reject(RejectedMissing, nil)
		}
		return gateway.Identity{Access: v.access(&claims{})}, nil
	}
	c, err := v.verify(token)
	if err != nil {
		return gateway.Identity{}, err
	}
	return gateway.Identity{UserID: c.Subject, Access: c.access}, nil
}

// Refresh is for gateway.Options.
func (v *Verifier) Refresh(t *gateway.FireTower, token string) (*gateway.Access, error) {
	return v.RefreshUser(t.UserID(), token)
}

// RefreshUser returns what a user may do who brings a new token. It must be the same user's.
func (v *Verifier) RefreshUser(user, token string) (*gateway.Access, error) {
	c, err := v.verify(token)
	if err != nil {
		return nil, err
	}
	if c.Subject != user {
		return nil, v.reject(RejectedUser, fmt.Errorf("user %q brings a token of %q", user, c.Subject))
	}
	return c.access, nil
}

// find returns the token of a request, and whether there is one, be it empty.
func (v *Verifier) find(r *http.Request) (string, bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token), true
		}
	}
	if q := r.URL.Query(); q.Has(QueryParameter) {
		return q.Get(QueryParameter), true
	}
	if v.opts.Cookie != "" {
		if c, err := r.Cookie(v.opts.Cookie); err == nil {
			return c.Value, true
		}
	}
	return "", false
}

// reject counts a token that is not taken.
func (v *Verifier) reject(why Rejection, err error) error {
	v.rejected[why].Inc()
	challenge := "Bearer"
	if why != RejectedMissing { // RFC 6750 section 3.1
		challenge = fmt.Sprintf(`Bearer error="invalid_token", error_description=%q`, reasons[why])
	}
	return &gateway.AuthenticationError{Reason: reasons[why], Challenge: challenge, Err: err}
}

// claims are those of a token that matter here.
type claims struct {
	jwt.Claims
	access *gateway.Access
	// named are the token's own patterns; a nil list is not there.
	named struct {
		Firetower Permissions `json:"firetower"`
	}
}

// Permissions are the claim "firetower" of a token. A list that is nil leaves it to the gateway's
// configuration; an empty one allows nothing.
type Permissions struct {
	Subscribe []string `json:"subscribe"`
	Publish   []string `json:"publish"`
}

// verify checks a token whole.
func (v *Verifier) verify(token string) (*claims, error) {
	keys := v.current()
	c, why, err := readToken(token, *keys)
	if why == RejectedKey || why == RejectedSignature || why == RejectedMalformed {
		if again := v.after(keys); again != keys {
			c, why, err = readToken(token, *again)
		}
	}
	if err != nil {
		return nil, v.reject(why, err)
	}
	expected := jwt.Expected{Issuer: v.opts.Issuer, Time: v.now()}
	if v.opts.Audience != "" {
		expected.AnyAudience = jwt.Audience{v.opts.Audience}
	}
	if err := c.ValidateWithLeeway(expected, Leeway); err != nil {
		return nil, v.reject(rejectionOf(err), err)
	}
	if c.access = v.access(c); c.access == nil {
		return nil, v.reject(RejectedClaims, errors.New("firetower names what is no pattern of topics"))
	}
	return c, nil
}

// readToken finds the key that has signed a token, and reads its claims. Beside an error it says what is wrong.
func readToken(token string, keys []key) (*claims, Rejection, error) {
	var algorithms []jose.SignatureAlgorithm
	for _, k := range keys {
		algorithms = append(algorithms, k.algorithms...)
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, RejectedMalformed, err
	}
	c := new(claims)
	header := parsed.Headers[0] // the compact form has one
	why, last := RejectedKey, fmt.Errorf("key %q, algorithm %s", header.KeyID, header.Algorithm)
	for _, k := range keys {
		if !k.verifies(header) {
			continue
		}
		err := parsed.Claims(k.value, &c.Claims, &c.named)
		switch {
		case err == nil:
			return c, "", nil
		case errors.Is(err, jose.ErrCryptoFailure):
			why, last = RejectedSignature, err
		default: // the signature is right, or the header demands an extension (crit) that there is not
			return nil, RejectedClaims, err
		}
	}
	return nil, why, last
}

func rejectionOf(err error) Rejection {
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return RejectedExpired
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return RejectedEarly
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return RejectedIssuer
	case errors.Is(err, jwt.ErrInvalidAudience):
		return RejectedAudience
	default:
		return RejectedClaims
	}
}

// access is what claims allow; nil when they name what is no pattern.
func (v *Verifier) access(c *claims) *gateway.Access {
	user := c.Subject
	if strings.ContainsAny(user, v.separators) {
		v.log.Debug("a name gets no topics of users: it holds a separator", "user", user, "separators", v.separators)
		user = ""
	}
	a := &gateway.Access{Subscribe: forUser(v.subscribe, user), Publish: forUser(v.publish, user)}
	var err error
	if names := c.named.Firetower.Subscribe; names != nil {
		if a.Subscribe, err = parsePatterns("subscribe", names); err != nil {
			return nil
		}
	}
	if names := c.named.Firetower.Publish; names != nil {
		if a.Publish, err = parsePatterns("publish", names); err != nil {
			return nil
		}
	}
	if c.Expiry != nil {
		a.Expires = c.Expiry.Time().Add(Leeway)
	}
	return a
}

// userPlace is where a configured pattern has the user's name.
const userPlace = "{user}"

// separatorsOf finds the characters that a user's name must not hold, so that what the patterns allow him is never
// what they allow another: those that follow {user}, and those that stand before it where another pattern has {user} earlier
// after the same beginning. One that names may well hold, and {user} before a star, are refused.
func separatorsOf(patterns map[string][]gateway.TopicPattern) (string, error) {
	var separators []rune
	add := func(name string, p gateway.TopicPattern, c rune, where string) error {
		if unicode.IsLetter(c) || unicode.IsDigit(c) || c == '{' || c == '}' {
			return fmt.Errorf("%s: topic pattern %q: %q stands %s %s, and may be a part of a name: put a separator between them", name, p, c, where, userPlace)
		}
		separators = append(separators, c)
		return nil
	}
	var errs []error
	heads := map[string]bool{}
	for _, list := range patterns {
		for _, p := range list {
			if head, _, ok := strings.Cut(p.Topic, userPlace); ok {
				heads[head] = true
			}
		}
	}
	for name, list := range patterns {
		for _, p := range list {
			head, rest, ok := strings.Cut(p.Topic, userPlace)
			if !ok {
				continue
			}
			for other := range heads {
				if len(other) < len(head) && strings.HasPrefix(head, other) {
					c, _ := utf8.DecodeLastRuneInString(head)
					errs = append(errs, add(name, p, c, "before"))
				}
			}
			for ok {
				if c, size := utf8.DecodeRuneInString(rest); size > 0 {
					errs = append(errs, add(name, p, c, "behind"))
				} else if p.Prefix {
					errs = append(errs, fmt.Errorf("%s: topic pattern %q: with %s before the star it is for all whose names begin alike: put a separator between them", name, p, userPlace))
				}
				_, rest, ok = strings.Cut(rest, userPlace)
			}
		}
	}
	return string(separators), errors.Join(errs...)
}

// forUser puts a user's name into patterns; those with its place are nobody's where it is empty. It is put in
// after they were parsed: a star in a name is a star, and widens nothing.
func forUser(patterns []gateway.TopicPattern, user string) []gateway.TopicPattern {
	has := func(p gateway.TopicPattern) bool { return strings.Contains(p.Topic, userPlace) }
	if !slices.ContainsFunc(patterns, has) {
		return patterns // all users share them
	}
	var out []gateway.TopicPattern
	for _, p := range patterns {
		if has(p) {
			if user == "" {
				continue
			}
			p.Topic = strings.ReplaceAll(p.Topic, userPlace, user)
		}
		out = append(out, p)
	}
	return out
}
