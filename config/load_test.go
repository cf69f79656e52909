package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"firetower/config"
)

func TestDefaultsNeedNoSource(t *testing.T) {
	g, err := config.LoadGateway(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g.Bucket, config.Bucket{CentralChanCount: 100000, CentralBytes: 256 << 20, BuffChanCount: 1000, InlineSubscribers: 32, JoinBytes: 64 << 10, JoinMessages: 1024, BatchWrites: true, FlushTopics: []string{}}) {
		t.Errorf("bucket: %+v", g.Bucket)
	}
	if got := g.Gateway.Listen.String(); got != "127.0.0.1:9999" {
		t.Errorf("listen: %s", got)
	}
	if g.HTTP.Address.On || g.HTTP.Address.String() != "" {
		t.Errorf("http.address: %+v, want none", g.HTTP.Address)
	}
	m, err := config.LoadManager(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]config.Address{
		"127.0.0.1:6666": m.SocketAddress, "127.0.0.1:6667": m.GRPCAddress, "127.0.0.1:8000": m.HTTP.Address,
	} {
		if got.String() != want || !got.IsLoopback() {
			t.Errorf("address %v, want %s", got, want)
		}
	}
	for _, s := range append(g.Settings(), m.Settings()...) {
		if s.Origin.Kind != config.FromDefault {
			t.Errorf("%s: origin %s, want default", s.Key, s.Origin)
		}
	}
}

// The files of deployments that exist are these, comments aside.
func TestFilesOfOlderDeploymentsLoad(t *testing.T) {
	const gateway = `
chanLens = 500
heartbeat = 600
topicServiceAddr = "0.0.0.0:6666"
[grpc]
address = "localhost:6667"
[bucket]
Num = 8
CentralChanCount = 50000
BuffChanCount = 2000
ConsumerNum = 1
`
	const manager = `
heartbeat = 7
servicetimeout = 8
[grpc]
port = 7667
[socket]
port = 7666
`
	for _, v := range []struct {
		name    string
		rewrite func(string) string
	}{
		{"as they are", func(s string) string { return s }},
		{"lower case", strings.ToLower},
		{"upper case", func(s string) string { return strings.ReplaceAll(strings.ToUpper(s), "LOCALHOST", "localhost") }},
		{"dotted keys", func(s string) string {
			return strings.NewReplacer("[grpc]\n", "grpc.", "[socket]\n", "socket.", "[bucket]", "", "Num = 8", "Bucket.Num = 8",
				"CentralChan", "bucket.CentralChan", "BuffChan", "bucket.BuffChan", "ConsumerNum", "BUCKET.ConsumerNum").Replace(s)
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			g, err := config.LoadGateway(sources(v.rewrite(gateway), "", nil))
			if err != nil {
				t.Fatal(err)
			}
			if g.ChanLens != 500 || g.Heartbeat != 10*time.Minute || g.TopicServiceAddr.String() != "0.0.0.0:6666" ||
				g.GRPCAddress.String() != "localhost:6667" ||
				!reflect.DeepEqual(g.Bucket, config.Bucket{
					Num: 8, CentralChanCount: 50000, CentralBytes: 256 << 20, BuffChanCount: 2000, ConsumerNum: 1,
					InlineSubscribers: 32, JoinBytes: 64 << 10, JoinMessages: 1024, BatchWrites: true, FlushTopics: []string{},
				}) {
				t.Errorf("gateway: %+v", g)
			}
			m, err := config.LoadManager(sources("", v.rewrite(manager), nil))
			if err != nil {
				t.Fatal(err)
			}
			if m.Heartbeat != 7*time.Second || m.GRPCAddress.String() != "127.0.0.1:7667" || m.SocketAddress.String() != "127.0.0.1:7666" {
				t.Errorf("manager: %+v", m)
			}
			if n := m.Notices(); len(n) != 1 || !strings.HasPrefix(strings.ToLower(n[0]), "mgr.toml:3: servicetimeout: has no effect") {
				t.Errorf("notices: %q, want one about servicetimeout", n)
			}
		})
	}
}

func TestLaterSourceWins(t *testing.T) {
	file := "[bucket]\nNum = 5\nBuffChanCount = 55\nConsumerNum = 6\n"
	env := []string{"FIRETOWER_BUCKET_NUM=7", "FIRETOWER_BUCKET_CONSUMER_NUM=8", "PATH=/bin"}
	g, err := config.LoadGateway(sources(file, "", env, "bucket.num=9"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ key, value, origin string }{
		{"bucket.Num", "9", "flag --set"},
		{"bucket.ConsumerNum", "8", "environment FIRETOWER_BUCKET_CONSUMER_NUM"},
		{"bucket.BuffChanCount", "55", "file gw.toml:3"},
		{"bucket.CentralChanCount", "100000", "default"},
	} {
		s := setting(t, g.Settings(), want.key)
		if s.Value != want.value || s.Origin.String() != want.origin {
			t.Errorf("%s = %s (%s), want %s (%s)", want.key, s.Value, s.Origin, want.value, want.origin)
		}
	}
	if g.Bucket.Num != 9 || g.Bucket.ConsumerNum != 8 || g.Bucket.BuffChanCount != 55 {
		t.Errorf("bucket: %+v", g.Bucket)
	}
}

// The older implementation ended with a nil dereference or a failed type
// assertion on any of these (PEERS U4-44).
func TestU4_44_WrongFilesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"unknown key", "chanLen = 3", []string{"gw.toml:1: chanLen: unknown key, did you mean chanLens?"}},
		{"unknown key in a table", "[bucket]\n\nNmu = 3", []string{"gw.toml:3: bucket.Nmu: unknown key, did you mean bucket.Num?"}},
		{"right key in the wrong table", "pendingAge = '3s'", []string{"gw.toml:1: pendingAge: unknown key, did you mean slowConsumer.pendingAge?"}},
		{"unknown key far from any", "frobnicate = 3", []string{"gw.toml:1: frobnicate: unknown key"}},
		{"key of the other service", "[socket]\nport = 6666", []string{
			"gw.toml:2: socket.port: unknown key of the gateway; it is one of the manager, see topicmanage.toml",
		}},
		{"unknown table with a key", "[buket]\nNum = 3", []string{"gw.toml:2: buket.Num: unknown key, did you mean bucket.Num?"}},
		{"unknown table without keys", "[bukett]", []string{"gw.toml:1: bukett: unknown table"}},
		{"unknown inline table", "buket = { Num = 3 }", []string{"gw.toml:1: buket.Num: unknown key, did you mean bucket.Num?"}},
		{"quoted dot is no table", `"bucket.Num" = 3`, []string{`gw.toml:1: "bucket.Num": unknown key, did you mean bucket.Num?`}},
		{"table as key", "bucket = 3", []string{"gw.toml:1: bucket: is a table and not a key: write [bucket] on a line of its own"}},
		{"key as table", "[heartbeat]\nx = 1", []string{
			"gw.toml:1: heartbeat: is a key and not a table: write heartbeat = ...", "gw.toml:2: heartbeat.x: unknown key, did you mean heartbeat?",
		}},
		{"list of tables", "[[bucket]]\nNum = 3\n[[bucket]]\nNum = 4", []string{
			"gw.toml:1: bucket: [[...]] is a list of tables, which no key is",
			"gw.toml:3: bucket: [[...]] is a list of tables, which no key is",
		}},
		{"case twice", "chanLens = 3\nCHANLENS = 4", []string{"gw.toml:2: CHANLENS: already stands on line 1, as chanLens: only case differs"}},
		{"case twice in a table", "[bucket]\nNum = 3\nnum = 3", []string{
			"gw.toml:3: bucket.num: already stands on line 2, as bucket.Num: only case differs",
		}},
		{"table twice by case", "[bucket]\nNum = 3\n[Bucket]\nConsumerNum = 3", []string{
			"gw.toml:3: Bucket: already stands on line 1, as bucket: only case differs",
		}},
		{"same spelling twice", "chanLens = 3\nchanLens = 4", []string{"gw.toml:2: not TOML: key chanLens is already defined"}},
		{"not TOML", "chanLens = 3\nwhat is this", []string{"gw.toml:2: not TOML: expected '=' after key"}},
		{"text for an integer", `chanLens = "3"`, []string{`gw.toml:1: chanLens: want an integer, got the text "3"`}},
		{"fraction for an integer", `chanLens = 3.5`, []string{`gw.toml:1: chanLens: want an integer, got the number 3.5`}},
		{"date for an integer", `chanLens = 2020-01-01`, []string{`gw.toml:1: chanLens: want an integer, got 2020-01-01`}},
		{"list for an integer", `chanLens = [3]`, []string{`gw.toml:1: chanLens: want an integer, got a list`}},
		{"integer too small", `chanLens = 0`, []string{`gw.toml:1: chanLens: must be from 1 to 16777216, got 0`}},
		{"integer beyond TOML", `chanLens = 99999999999999999999`, []string{`gw.toml:1: not TOML: decimal number is too large to fit in a 64-bit signed integer`}},
		{"duration without a unit", "[drain]\ntimeout = 10", []string{`gw.toml:2: drain.timeout: 10 has no unit: write "10s" for seconds`}},
		{"duration with a strange unit", "heartbeat = '3 fortnights'", []string{
			`gw.toml:1: heartbeat: want a duration such as "30s", "250ms" or "1m30s", got "3 fortnights"`,
		}},
		{"negative seconds", "heartbeat = -1", []string{`gw.toml:1: heartbeat: -1 seconds is out of range`}},
		{"seconds that overflow", "heartbeat = 9223372036854775807", []string{`gw.toml:1: heartbeat: 9223372036854775807 seconds is out of range`}},
		{"duration out of bounds", "heartbeat = '1ms'", []string{`gw.toml:1: heartbeat: must be from 10ms to 24h, got 1ms`}},
		{"duration as boolean", "heartbeat = true", []string{`gw.toml:1: heartbeat: want a duration such as "30s", got the boolean true`}},
		{"size of a strange unit", "[limits]\nmaxFrameBytes = '3 stone'", []string{
			`gw.toml:2: limits.maxFrameBytes: want a size such as "64KiB", "1MiB" or 65536, got "3 stone"`,
		}},
		{"size out of bounds", "[limits]\nmaxFrameBytes = '3GiB'", []string{`gw.toml:2: limits.maxFrameBytes: must be from 128B to 1GiB, got 3GiB`}},
		{"size that overflows", "[limits]\nmaxFrameBytes = '9999999999999GiB'", []string{
			`gw.toml:2: limits.maxFrameBytes: "9999999999999GiB" is out of range`,
		}},
		{"choice", "[slowConsumer]\npolicy = 'dropoldest'", []string{
			`gw.toml:2: slowConsumer.policy: must be disconnect, drop-oldest or latest, got "dropoldest", did you mean "drop-oldest"?`,
		}},
		{"choice far off", "[log]\nformat = 'yaml'", []string{`gw.toml:2: log.format: must be text or json, got "yaml"`}},
		{"boolean as text", "[http]\npprof = 'yes'", []string{`gw.toml:2: http.pprof: want true or false, got the text "yes"`}},
		{"address without a port", "topicServiceAddr = 'localhost'", []string{`gw.toml:1: topicServiceAddr: "localhost" has no port: want host:port`}},
		{"address to connect to without a host", "topicServiceAddr = ':6666'", []string{`gw.toml:1: topicServiceAddr: ":6666" names no host to connect to`}},
		{"address to connect to with port 0", "topicServiceAddr = 'a:0'", []string{`gw.toml:1: topicServiceAddr: "a:0" names no port to connect to`}},
		{"address as a URL", "topicServiceAddr = 'tcp://a:1'", []string{`gw.toml:1: topicServiceAddr: "tcp://a:1" is not host:port`}},
		{"address with a wild port", "[gateway]\nlisten = ':99999'", []string{`gw.toml:2: gateway.listen: "99999" is not a port: want a number from 0 to 65535`}},
		{"address empty", "[gateway]\nlisten = ''", []string{`gw.toml:2: gateway.listen: must not be empty: want host:port`}},
		{"origin with a path", "[gateway]\norigins = ['https://a.example/x']", []string{
			`gw.toml:2: gateway.origins: "https://a.example/x" is not an origin: want scheme://host[:port] such as "https://example.org", or "*"`,
		}},
		{"origins as text", "[gateway]\norigins = '*'", []string{`gw.toml:2: gateway.origins: want a list of text such as ["a", "b"], got the text "*"`}},
		{"path without a slash", "[gateway]\npath = 'ws'", []string{`gw.toml:2: gateway.path: must be the path of a URL that begins with "/", got "ws"`}},
		{"cluster id with a space", "[cluster]\nid = 'a b'", []string{
			`gw.toml:2: cluster.id: must be at most 255 bytes without spaces and control characters, got "a b"`,
		}},
		{"header with a colon", "[gateway]\nuserHeader = 'X-User:'", []string{`gw.toml:2: gateway.userHeader: must be the name of an HTTP header, got "X-User:"`}},
		{"tokens without keys", "[auth]\nanonymous = true\nissuer = 'us'\n", []string{
			"gw.toml:2: auth.anonymous: needs auth.secretFile or auth.keysFile: without either nobody is asked for a token",
			"gw.toml:3: auth.issuer: needs auth.secretFile or auth.keysFile: without either nobody is asked for a token",
		}},
		{"two ways to say who a user is", "[gateway]\nuserHeader = 'X-User'\n[auth]\nkeysFile = 'k'\n", []string{
			"gw.toml:2: gateway.userHeader: has no effect beside auth.secretFile or auth.keysFile: a user is who the token says",
		}},
		{"patterns that no topic fits", "[auth]\nkeysFile = 'k'\nsubscribe = ['']\npublish = ['a b*']\n", []string{
			`gw.toml:3: auth.subscribe: an empty pattern is no topic's: want one such as "news" or "room.*", or "*" for all`,
			`gw.toml:4: auth.publish: must be at most 255 bytes without commas, spaces and control characters, got "a b"`,
		}},
		{"a pattern that is two", "[auth]\nkeysFile = 'k'\nsubscribe = ['news,room.*']\n", []string{
			`gw.toml:3: auth.subscribe: must be at most 255 bytes without commas, spaces and control characters, got "news,room."`,
		}},
		{"a cookie for everybody's pages", "[gateway]\norigins = ['*']\n[auth]\nkeysFile = 'k'\ncookie = 'session'\n", []string{
			`gw.toml:5: auth.cookie: would be sent by pages of every origin that gateway.origins = ["*"] lets in: list the origins`,
		}},
		{"values that fight", "[link]\nqueueBytes = '1KiB'\nredialMin = '9s'", []string{
			"link.redialMax: must be at least link.redialMin (9s), got 1s",
			"gw.toml:2: link.queueBytes: must be at least limits.maxFrameBytes (64KiB), or the largest message never fits; got 1KiB",
		}},
		{"all problems at once", "chanLens = 0\nheartbeet = 3\n[bucket]\nNum = true\n", []string{
			"gw.toml:1: chanLens: must be from 1 to 16777216, got 0",
			"gw.toml:2: heartbeet: unknown key, did you mean heartbeat?",
			"gw.toml:4: bucket.Num: want an integer, got the boolean true",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.LoadGateway(sources(tt.file, "", nil))
			wantProblems(t, err, tt.want...)
		})
	}
}

// Zeroes that made the older implementations divide by zero, or their tickers
// panic (PEERS U5-20), from any source. For bucket.Num and bucket.ConsumerNum 0 has a
// meaning now, which core/gateway's tests run with.
func TestU5_20_ZeroesAreRefused(t *testing.T) {
	for _, key := range []string{
		"bucket.CentralChanCount", "bucket.BuffChanCount", "chanLens", "heartbeat", "link.heartbeat",
	} {
		for name, src := range map[string]config.Sources{
			"flag": sources("", "", nil, key+"=0s", key+"=0"), "environment": sources("", "", []string{config.EnvName(key) + "=0"}),
			"file": sources(key+" = 0", "", nil),
		} {
			if _, err := config.LoadGateway(src); err == nil {
				t.Errorf("%s = 0 is taken from a %s", key, name)
			}
		}
	}
	if _, err := config.LoadManager(sources("", "heartbeat = 0", nil)); err == nil {
		t.Error("a manager takes heartbeat = 0")
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	_, err := config.LoadGateway(config.Sources{GatewayFile: "no/such.toml"})
	wantProblems(t, err, "no/such.toml: no such file or directory")
	_, err = config.LoadGateway(sources(strings.Repeat("#", 2<<20), "", nil))
	wantProblems(t, err, "gw.toml: file is larger than 1MiB")
}

func TestRefusedEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
		want []string
	}{
		{"unknown", []string{"FIRETOWER_BUCKET_NMU=3"}, []string{"FIRETOWER_BUCKET_NMU: unknown variable, did you mean FIRETOWER_BUCKET_NUM?"}},
		{"unknown, far off", []string{"FIRETOWER_FROBNICATE=3"}, []string{"FIRETOWER_FROBNICATE: unknown variable"}},
		{"bad value", []string{"FIRETOWER_BUCKET_NUM=many"}, []string{`FIRETOWER_BUCKET_NUM: bucket.Num: want an integer, got "many"`}},
		{"empty value", []string{"FIRETOWER_BUCKET_NUM="}, []string{`FIRETOWER_BUCKET_NUM: bucket.Num: want an integer, got ""`}},
		{"bad boolean", []string{"FIRETOWER_HTTP_PPROF=1"}, []string{`FIRETOWER_HTTP_PPROF: http.pprof: want true or false, got "1"`}},
		{"one key by two variables", []string{"FIRETOWER_CHAN_LENS=3", "FIRETOWER_CHANLENS=4"}, []string{
			"FIRETOWER_CHAN_LENS: chanLens: is set by FIRETOWER_CHANLENS as well",
		}},
		{"a secret is not shown", []string{"FIRETOWER_LINK_TOKEN=sec ret"}, []string{
			"FIRETOWER_LINK_TOKEN: link.token: may hold printable ASCII without spaces only",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.LoadGateway(sources("", "", tt.env))
			wantProblems(t, err, tt.want...)
		})
	}
}

func TestEnvironmentNames(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
		want func(*config.Gateway) any
		is   any
	}{
		{"snake case", []string{"FIRETOWER_BUCKET_BUFF_CHAN_COUNT=7"}, func(g *config.Gateway) any { return g.Bucket.BuffChanCount }, 7},
		{"without the inner underscores", []string{"FIRETOWER_BUCKET_BUFFCHANCOUNT=7"}, func(g *config.Gateway) any { return g.Bucket.BuffChanCount }, 7},
		{"scoped", []string{"FIRETOWER_GATEWAY_HEARTBEAT=7"}, func(g *config.Gateway) any { return g.Heartbeat }, 7 * time.Second},
		{"scoped for the other", []string{"FIRETOWER_MANAGER_HEARTBEAT=7"}, func(g *config.Gateway) any { return g.Heartbeat }, 25 * time.Second},
		{"list", []string{"FIRETOWER_GATEWAY_ORIGINS=https://a.example, https://b.example"}, func(g *config.Gateway) any { return strings.Join(g.Gateway.Origins, "|") }, "https://a.example|https://b.example"},
		{"empty list", []string{"FIRETOWER_GATEWAY_ORIGINS="}, func(g *config.Gateway) any { return len(g.Gateway.Origins) }, 0},
		{"address off", []string{"FIRETOWER_HTTP_ADDRESS="}, func(g *config.Gateway) any { return g.HTTP.Address.On }, false},
		{"of the manager alone", []string{"FIRETOWER_SOCKET_PORT=1"}, func(g *config.Gateway) any { return g.TopicServiceAddr.Port }, 6666},
		{"of the tests", []string{"FIRETOWER_PROP_SEED=1", "FIRETOWER_TEST_X=", "FIRETOWER_BIN=x"}, func(g *config.Gateway) any { return g.ChanLens }, 1000},
		{"last of two", []string{"FIRETOWER_CHAN_LENS=1", "FIRETOWER_CHAN_LENS=2"}, func(g *config.Gateway) any { return g.ChanLens }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := config.LoadGateway(sources("", "", tt.env))
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.want(g); !reflect.DeepEqual(got, tt.is) {
				t.Errorf("got %v, want %v", got, tt.is)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags []config.Flag
		want  []string
		check func(*config.Gateway) bool
	}{
		{"own flag", []config.Flag{{Name: "--listen", Service: config.ServiceGateway, Key: "gateway.listen", Value: ":0"}}, nil, func(g *config.Gateway) bool { return g.Gateway.Listen == config.Address{On: true} }},
		{"any case", []config.Flag{{Name: "--set", Key: "BUCKET.NUM", Value: "3"}}, nil, func(g *config.Gateway) bool { return g.Bucket.Num == 3 }},
		{"scoped", []config.Flag{{Name: "--set", Key: "gateway.heartbeat", Value: "3s"}}, nil, func(g *config.Gateway) bool { return g.Heartbeat == 3*time.Second }},
		{"the last of --set counts", []config.Flag{{Name: "--set", Key: "bucket.num", Value: "no"}, {Name: "--set", Key: "bucket.Num", Value: "4"}}, nil, func(g *config.Gateway) bool { return g.Bucket.Num == 4 }},
		{"unknown", []config.Flag{{Name: "--set", Key: "bucket.nmu", Value: "3"}}, []string{"--set: bucket.nmu: unknown key, did you mean bucket.Num?"}, nil},
		{"of the other service", []config.Flag{{Name: "--set", Key: "socket.port", Value: "3"}}, []string{"--set: socket.port: is a key of the manager, which this command does not run"}, nil},
		{"scoped to the other service", []config.Flag{{Name: "--set", Key: "manager.heartbeat", Value: "3"}}, []string{"--set: manager.heartbeat: is a key of the manager, which this command does not run"}, nil},
		{"two flags for a key", []config.Flag{
			{Name: "--listen", Service: config.ServiceGateway, Key: "gateway.listen", Value: ":0"}, {Name: "--set", Key: "gateway.listen", Value: ":1"},
		}, []string{"--set: gateway.listen: is set by --listen as well"}, nil},
		{"a secret", []config.Flag{{Name: "--set", Key: "link.token", Value: "x"}}, []string{
			"--set: link.token: a secret on a command line can be read by every user of the machine: put it into a file and name that, or into FIRETOWER_LINK_TOKEN",
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := config.LoadGateway(config.Sources{Flags: tt.flags})
			wantProblems(t, err, tt.want...)
			if err == nil && !tt.check(g) {
				t.Errorf("loaded %+v", g)
			}
		})
	}
}

func TestAddressAndPort(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		env        []string
		want       string
		origin     string
		problem    string
	}{
		{name: "default", want: "127.0.0.1:6666", origin: "default"},
		{name: "port alone", file: "[socket]\nport = 7", want: "127.0.0.1:7", origin: "default, port file mgr.toml:2"},
		{name: "host alone", file: "[socket]\naddress = '0.0.0.0'", want: "0.0.0.0:6666", origin: "file mgr.toml:2, port default"},
		{name: "IPv6 host alone", file: "[socket]\naddress = '::1'", want: "[::1]:6666", origin: "file mgr.toml:2, port default"},
		{name: "IPv6 host in brackets", file: "[socket]\naddress = '[::1]'", want: "[::1]:6666", origin: "file mgr.toml:2, port default"},
		{name: "IPv6 with port", file: "[socket]\naddress = '[::1]:8'", want: "[::1]:8", origin: "file mgr.toml:2"},
		{name: "all interfaces", file: "[socket]\naddress = ':8'", want: ":8", origin: "file mgr.toml:2"},
		{name: "both", file: "[socket]\nport = 7\naddress = 'a.example'", want: "a.example:7", origin: "file mgr.toml:3, port file mgr.toml:2"},
		{name: "both agree", file: "[socket]\nport = 7\naddress = 'a:7'", want: "a:7", origin: "file mgr.toml:3, port file mgr.toml:2"},
		{name: "both disagree", file: "[socket]\nport = 7\naddress = 'a:8'", problem: "mgr.toml:2: socket.port: 7 contradicts socket.address, which names port 8"},
		{name: "stronger address takes the weaker port away", file: "[socket]\nport = 7", env: []string{"FIRETOWER_SOCKET_ADDRESS=b:9"}, want: "b:9", origin: "environment FIRETOWER_SOCKET_ADDRESS"},
		{name: "stronger host keeps the weaker port", file: "[socket]\nport = 7", env: []string{"FIRETOWER_SOCKET_ADDRESS=b"}, want: "b:7", origin: "environment FIRETOWER_SOCKET_ADDRESS, port file mgr.toml:2"},
		{name: "stronger port", file: "[socket]\naddress = 'a:8'", env: []string{"FIRETOWER_SOCKET_PORT=9"}, want: "a:9", origin: "file mgr.toml:2, port environment FIRETOWER_SOCKET_PORT"},
		{name: "port out of range", file: "[socket]\nport = 70000", problem: "mgr.toml:2: socket.port: must be from 0 to 65535, got 70000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := config.LoadManager(sources("", tt.file, tt.env))
			if tt.problem != "" {
				wantProblems(t, err, tt.problem)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := setting(t, m.Settings(), "socket.address")
			origin := s.Origin.String()
			if s.PortOrigin != nil {
				origin += ", port " + s.PortOrigin.String()
			}
			if m.SocketAddress.String() != tt.want || s.Value != tt.want || origin != tt.origin {
				t.Errorf("%s (%s), want %s (%s)", m.SocketAddress, origin, tt.want, tt.origin)
			}
		})
	}
}

func TestListenersThatCollide(t *testing.T) {
	for _, tt := range []struct {
		name, manager, gateway string
		problems               []string // of serve
	}{
		{"the defaults", "", "", nil},
		{"grpc and the links", "[socket]\naddress = '127.0.0.1:7000'\n[grpc]\naddress = '127.0.0.1:7000'", "", []string{
			"mgr.toml:2: socket.address: must differ from grpc.address, which is 127.0.0.1:7000; got 127.0.0.1:7000",
		}},
		{"with a default", "[grpc]\naddress = '127.0.0.1:6666'", "", []string{
			"mgr.toml:2: grpc.address: must differ from socket.address, which is 127.0.0.1:6666; got 127.0.0.1:6666",
		}},
		{"with all interfaces", "[http]\naddress = ':6667'", "", []string{
			"mgr.toml:2: http.address: must differ from grpc.address, which is 127.0.0.1:6667; got :6667",
		}},
		{"clients and health", "", "[gateway]\nlisten = ':9000'\n[http]\naddress = '127.0.0.1:9000'", []string{
			"gw.toml:4: http.address: must differ from gateway.listen, which is :9000; got 127.0.0.1:9000",
		}},
		{"of two services in one process", "", "[gateway]\nlisten = '127.0.0.1:8000'", []string{
			"gw.toml:2: gateway.listen: must differ from http.address of the manager, which is 127.0.0.1:8000; got 127.0.0.1:8000",
		}},
		{"free ports", "[socket]\naddress = '127.0.0.1:0'\n[grpc]\naddress = '127.0.0.1:0'", "", nil},
		{"two hosts", "[socket]\naddress = '127.0.0.1:7000'\n[grpc]\naddress = '127.0.0.2:7000'", "", nil},
		{"one is off", "[http]\naddress = ''", "[gateway]\nlisten = '127.0.0.1:8000'", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := config.LoadServe(sources(tt.gateway, tt.manager, nil))
			if tt.problems == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantProblems(t, err, tt.problems...)
		})
	}
}

func TestSecrets(t *testing.T) {
	secretFiles := files{"conf/secret": "hunter2\n", "/run/secret": "hunter3", "empty": "\n", "bad": "a b"}
	for _, tt := range []struct {
		name, file string
		env        []string
		want       string
		origin     string
		problem    string
	}{
		{name: "none", want: "", origin: "default"},
		{name: "in the file", file: "[link]\ntoken = 'x'", want: "x", origin: "file conf/gw.toml:2"},
		{name: "beside the file", file: "[link]\ntokenFile = 'secret'", want: "hunter2", origin: "file conf/gw.toml:2"},
		{name: "absolute", file: "[link]\ntokenFile = '/run/secret'", want: "hunter3", origin: "file conf/gw.toml:2"},
		{name: "by the environment", env: []string{"FIRETOWER_LINK_TOKEN_FILE=conf/secret"}, want: "hunter2", origin: "environment FIRETOWER_LINK_TOKEN_FILE"},
		{name: "stronger token", file: "[link]\ntokenFile = 'secret'", env: []string{"FIRETOWER_LINK_TOKEN=y"}, want: "y", origin: "environment FIRETOWER_LINK_TOKEN"},
		{name: "stronger file", file: "[link]\ntoken = 'x'", env: []string{"FIRETOWER_LINK_TOKENFILE=conf/secret"}, want: "hunter2", origin: "environment FIRETOWER_LINK_TOKENFILE"},
		{name: "both at once", file: "[link]\ntoken = 'x'\ntokenFile = 'secret'", problem: "conf/gw.toml:3: link.tokenFile: link.token is set as well, by file conf/gw.toml:2: only one of them can hold"},
		{name: "missing", file: "[link]\ntokenFile = 'none'", problem: "conf/gw.toml:2: link.tokenFile: open conf/none: file does not exist"},
		{name: "empty", env: []string{"FIRETOWER_LINK_TOKEN_FILE=empty"}, problem: "FIRETOWER_LINK_TOKEN_FILE: link.tokenFile: empty is empty"},
		{name: "bad content is not shown", env: []string{"FIRETOWER_LINK_TOKEN_FILE=bad"}, problem: "FIRETOWER_LINK_TOKEN_FILE: link.tokenFile: bad: may hold printable ASCII without spaces only"},
		{name: "not text", file: "[link]\ntoken = 12345", problem: "conf/gw.toml:2: link.token: want text in quotes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := files{"conf/gw.toml": tt.file}
			for name, content := range secretFiles {
				all[name] = content
			}
			g, err := config.LoadGateway(config.Sources{GatewayFile: "conf/gw.toml", ReadFile: all.read, Environ: tt.env})
			if tt.problem != "" {
				wantProblems(t, err, tt.problem)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := setting(t, g.Settings(), "link.token")
			if g.Link.Token != tt.want || s.Origin.String() != tt.origin {
				t.Errorf("token %q (%s), want %q (%s)", g.Link.Token, s.Origin, tt.want, tt.origin)
			}
			if tt.want != "" && (s.Value != "(set, not shown)" || !s.Secret) {
				t.Errorf("the setting shows %q", s.Value)
			}
		})
	}
}

func TestServe(t *testing.T) {
	for _, tt := range []struct {
		name             string
		gateway, manager string
		env, flags       []string
		problems         []string
		notices          int
		check            func(*config.Manager, *config.Gateway) bool
	}{
		{name: "defaults", check: func(m *config.Manager, g *config.Gateway) bool {
			return m.Heartbeat == 5*time.Second && g.Heartbeat == 25*time.Second
		}},
		{name: "key of one", flags: []string{"bucket.num=3", "socket.port=0"}, check: func(m *config.Manager, g *config.Gateway) bool {
			return g.Bucket.Num == 3 && m.SocketAddress.String() == "127.0.0.1:0"
		}},
		{name: "shared key", env: []string{"FIRETOWER_LOG_LEVEL=debug"}, check: func(m *config.Manager, g *config.Gateway) bool {
			return m.Log.Level == "debug" && g.Log.Level == "debug"
		}},
		{name: "shared key in one file", gateway: "[log]\nlevel = 'warn'\n[drain]\ntimeout = '3s'\n[link]\ntoken = 'x'\n[http]\npprof = true", check: func(m *config.Manager, g *config.Gateway) bool {
			return m.Log.Level == "warn" && m.DrainTimeout == 3*time.Second && m.Link.Token == "x" && m.HTTP.Pprof && g.Link.Token == "x"
		}},
		{name: "shared key in one file and the environment", gateway: "[log]\nlevel = 'warn'", env: []string{"FIRETOWER_MANAGER_LOG_LEVEL=debug"}, check: func(m *config.Manager, g *config.Gateway) bool {
			return m.Log.Level == "debug" && g.Log.Level == "debug"
		}},
		{name: "shared keys that need each other, in one file", gateway: "[runtime]\ngcPercent = 0\nmemoryLimit = '1GiB'", check: func(m *config.Manager, g *config.Gateway) bool {
			return m.Runtime == config.Runtime{MemoryLimit: 1 << 30} && g.Runtime == m.Runtime
		}},
		{name: "shared key in both files", gateway: "[link]\ntoken = 'x'", manager: "[link]\n\ntoken = 'y'", problems: []string{
			"gw.toml:2: link.token: is not what file mgr.toml:3 says, and one process can have only one",
		}},
		{name: "key of both", env: []string{"FIRETOWER_HEARTBEAT=3s"}, flags: []string{"http.address=:0"}, problems: []string{
			"FIRETOWER_HEARTBEAT: heartbeat: is a key of both services: say FIRETOWER_MANAGER_HEARTBEAT or FIRETOWER_GATEWAY_HEARTBEAT",
			"--set: http.address: is a key of both services: say manager.http.address or gateway.http.address",
		}},
		{name: "scoped keys", env: []string{"FIRETOWER_GATEWAY_HEARTBEAT=3s", "FIRETOWER_MANAGER_HEARTBEAT=4s"}, flags: []string{"gateway.http.address=:7"}, check: func(m *config.Manager, g *config.Gateway) bool {
			return g.Heartbeat == 3*time.Second && m.Heartbeat == 4*time.Second && g.HTTP.Address.Port == 7 && m.HTTP.Address.Port == 8000
		}},
		{name: "grpc.address is the manager's", flags: []string{"grpc.address=127.0.0.1:0"}, check: func(m *config.Manager, _ *config.Gateway) bool {
			return m.GRPCAddress.Port == 0
		}},
		{name: "the gateway's way to the manager has no effect", env: []string{"FIRETOWER_TOPIC_SERVICE_ADDR=a:1"}, notices: 1, check: func(_ *config.Manager, g *config.Gateway) bool {
			return g.TopicServiceAddr.Port == 6666
		}},
		{name: "and from a file neither", gateway: "topicServiceAddr = 'a:1'\n[grpc]\naddress = '127.0.0.1:6667'", notices: 1, check: func(_ *config.Manager, g *config.Gateway) bool {
			return g.TopicServiceAddr.Port == 6666
		}},
		{name: "problems of both", gateway: "x = 1", manager: "y = 1", problems: []string{"gw.toml:1: x: unknown key", "mgr.toml:1: y: unknown key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, g, err := config.LoadServe(sources(tt.gateway, tt.manager, tt.env, tt.flags...))
			wantProblems(t, err, tt.problems...)
			if err != nil {
				return
			}
			if !tt.check(m, g) {
				t.Errorf("loaded %+v\nand %+v", m, g)
			}
			if n := len(m.Notices()) + len(g.Notices()); n != tt.notices {
				t.Errorf("%d notices, want %d: %q %q", n, tt.notices, m.Notices(), g.Notices())
			}
		})
	}
}
