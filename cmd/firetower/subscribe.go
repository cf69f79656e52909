package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"firetower/config"
	"firetower/core/client"
	"firetower/core/protocol"
)

// subscribeFlags are those of subscribe.
type subscribeFlags struct {
	url     string
	headers []string
	count   uint64
	timeout time.Duration
	asJSON  bool
	quiet   bool
}

func newSubscribeCommand(g *globalState) *cobra.Command {
	var f subscribeFlags
	cmd := &cobra.Command{
		Use:   "subscribe TOPIC...",
		Short: "Print messages as they arrive",
		Long: `Subscribe connects to a gateway as any client does and prints what is published
to the topics, a line for each message; of several topics, the line begins with
the topic and a tab. It reconnects when the connection is lost, says so on
standard error, and ends with the first signal, or when the gateway has ended
the subscription of every topic ('firetower kick').`,
		Example: `  firetower subscribe room-1
  firetower subscribe room-1 room-2 --json | jq .data`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("want a TOPIC")
			}
			for _, topic := range args {
				if err := checkTopic(topic); err != nil {
					return err
				}
			}
			return nil
		},
	}
	s := newSettings(g, cmd)
	s.fileFlag("config", config.ServiceGateway)
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "the gateway's endpoint, as `ws://HOST:PORT/PATH` (default from gateway.listen and gateway.path: ws://127.0.0.1:9999/ws)")
	flags.StringArrayVar(&f.headers, "header", nil, "send `NAME:VALUE` with the upgrade request, as in --header 'Authorization: Bearer x'")
	flags.Uint64Var(&f.count, "count", 0, "end after `N` messages; 0 is never")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long the first connection and subscription may take")
	flags.BoolVar(&f.asJSON, "json", false, "print a JSON object for each message, with its topic and time of arrival")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing of lost connections")
	cmd.RunE = func(cmd *cobra.Command, topics []string) error {
		if f.timeout <= 0 {
			return usagef("--timeout %s: must be more than 0s", f.timeout)
		}
		header, err := parseHeaders(f.headers)
		if err != nil {
			return err
		}
		if f.url == "" {
			conf, err := s.gateway()
			if err != nil {
				return err
			}
			f.url = gatewayURL(conf.Gateway.Listen.String(), conf.Gateway.Path, conf.TLS.CertFile != "")
		}
		if u, err := url.Parse(f.url); err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
			return usagef("--url %q: want ws://HOST:PORT/PATH or wss://...", f.url)
		}
		return subscribe(cmd.Context(), g, f, header, topics)
	}
	return cmd
}

// parseHeaders reads NAME:VALUE pairs.
func parseHeaders(pairs []string) (http.Header, error) {
	h := http.Header{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(pair, "\r\n") {
			return nil, usagef("--header %q: want NAME:VALUE", pair)
		}
		if reserved := http.CanonicalHeaderKey(name); slices.Contains(reservedHeaders, reserved) {
			return nil, usagef("--header %q: %s is part of the upgrade itself, which subscribe makes", pair, reserved)
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

// reservedHeaders are those of a WebSocket handshake (RFC 6455 section 4.1).
var reservedHeaders = []string{
	"Connection", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Sec-Websocket-Version", "Upgrade",
}

// gatewayURL is where clients on this machine reach a gateway that listens on
// addr.
func gatewayURL(addr, path string, secure bool) string {
	scheme := "ws://"
	if secure {
		scheme = "wss://"
	}
	return scheme + reachable(addr) + path
}

// reachable makes an address to connect to of one to listen on: all interfaces
// of a machine include its loopback.
func reachable(addr string) string {
	host, port, ok := cutLast(addr, ":")
	if !ok {
		return addr
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if host == "" || err == nil && ip.IsUnspecified() {
		return "127.0.0.1:" + port
	}
	return addr
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// subscribe prints messages until ctx ends, enough have come, or there is no
// point in going on.
func subscribe(ctx context.Context, g *globalState, f subscribeFlags, header http.Header, topics []string) error {
	// The client calls the printer from one goroutine, messages and events alike.
	p := &printer{g: g, f: f, several: len(topics) > 1, left: len(topics), end: make(chan error, 1)}
	opts := client.DefaultOptions()
	opts.URL, opts.Header, opts.OnEvent = f.url, header, p.event

	first, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	c, err := client.Dial(first, opts)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return explainDial(fmt.Errorf("gateway at %s: %w", f.url, err))
	}
	err = c.SubscribeMany(first, topics, p.message)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-p.end:
		case <-c.Done():
			err = c.Err()
		}
	} else if ctx.Err() != nil {
		err = nil // a signal ends subscribe, however far it is
	} else {
		err = explainSubscribe(err)
	}
	return errors.Join(err, c.Close())
}

// explainDial says what to do about a gateway that cannot be reached or does not
// let this client in.
func explainDial(err error) error {
	if refused, ok := errors.AsType[*client.HandshakeError](err); ok {
		switch refused.Status {
		case http.StatusUnauthorized:
			return withHint(err, "The gateway wants to know who asks: tell it with --header 'Authorization: Bearer TOKEN'; 'firetower token' makes one.")
		case http.StatusForbidden:
			return withHint(err, "The gateway refuses this origin, see gateway.origins.")
		case http.StatusNotFound:
			return withHint(err, "The path is gateway.path (default /ws).")
		case http.StatusServiceUnavailable:
			return withHint(err, "The gateway is stopping or full, or too many connect at once: see [limits] and [admission].")
		default:
			return err
		}
	}
	op, ok := errors.AsType[*net.OpError](err)
	if ok && op.Op == "dial" || ok && op.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return withHint(err, "Is a gateway running there? Start one with 'firetower serve' or 'firetower gateway', or name another with --url.")
	}
	return err
}

// explainSubscribe says what to do about a subscription that a gateway which
// answers has not confirmed.
func explainSubscribe(err error) error {
	refused, ok := errors.AsType[*client.RequestError](err)
	if ok && refused.Code == protocol.CodeForbidden {
		return withHint(err, "This client may not subscribe to it: see its token, and the gateway's auth.subscribe.")
	}
	if ok && refused.Code == protocol.CodeUnavailable || errors.Is(err, context.DeadlineExceeded) {
		return withHint(err, "The gateway answers, but did not confirm the subscription: is its manager running? Ask its /readyz.")
	}
	return err
}

// errNoTopicLeft ends a subscribe that would wait for nothing.
var errNoTopicLeft = errors.New("no topic is left")

// printer writes messages and events.
type printer struct {
	g       *globalState
	f       subscribeFlags
	several bool
	printed uint64
	ended   bool
	// left counts the topics that are still subscribed to.
	left int
	// end takes why to stop, nil when enough messages have come; the first counts.
	end chan error
}

// messageJSON is a message as subscribe prints it with --json; it has one of
// Data, Text and Base64.
type messageJSON struct {
	Topic    string          `json:"topic"`
	Received time.Time       `json:"received"`
	Data     json.RawMessage `json:"data,omitempty"`
	Text     *string         `json:"text,omitempty"`
	Base64   []byte          `json:"base64,omitempty"`
}

func (p *printer) message(m client.Message) {
	if p.ended {
		return
	}
	var line []byte
	switch {
	case p.f.asJSON:
		line = p.jsonLine(m)
	case p.several:
		line = append(append([]byte(m.Topic), '\t'), p.shown(m.Data)...)
	default:
		line = p.shown(m.Data)
	}
	_, err := p.g.stdout.Write(append(line[:len(line):len(line)], '\n'))
	p.printed++
	if err != nil || p.printed == p.f.count {
		p.ended = true
		p.end <- err
	}
}

// shown is data as it goes to standard output: as it is, but on a terminal
// without what would command the terminal.
func (p *printer) shown(data []byte) []byte {
	if !p.g.stdoutIsTerminal {
		return data
	}
	return escapeControl(data)
}

// escapeControl writes control characters, and bytes that are not UTF-8, as
// \x1b and the like.
func escapeControl(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, fmt.Sprintf(`\x%02x`, data[0])...)
		case r != '\n' && r != '\t' && unicode.IsControl(r):
			out = append(out, strings.Trim(strconv.QuoteRuneToASCII(r), "'")...)
		default:
			out = append(out, data[:n]...)
		}
		data = data[n:]
	}
	return out
}

func (p *printer) jsonLine(m client.Message) []byte {
	out := messageJSON{Topic: m.Topic, Received: p.g.now().UTC()}
	switch {
	case json.Valid(m.Data):
		out.Data = m.Data
	case utf8.Valid(m.Data):
		text := string(m.Data)
		out.Text = &text
	default:
		out.Base64 = m.Data
	}
	line, err := json.Marshal(out)
	if err != nil {
		// What is marshalled is made of text and of JSON that was found valid.
		return []byte(`{"error":` + strconv.Quote(err.Error()) + `}`)
	}
	return line
}

// event tells of changes on standard error.
func (p *printer) event(e client.Event) {
	last := false
	switch e.Kind {
	case client.EventConnected, client.EventClosed:
		return
	case client.EventUnsubscribed, client.EventSubscriptionLost:
		p.left -= len(e.Topics)
		last = p.left <= 0
	default:
	}
	if !p.f.quiet {
		// When nobody reads standard error any more, the messages still matter.
		_, _ = io.WriteString(p.g.stderr, "firetower subscribe: "+e.String()+"\n")
	}
	if last && !p.ended {
		p.ended = true
		p.end <- errNoTopicLeft
	}
}
