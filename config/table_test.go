package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firetower/config"
)

// -update writes the shipped example files anew from the tables.
var update = flag.Bool("update", false, "write the example files")

func both() []config.Service { return []config.Service{config.ServiceGateway, config.ServiceManager} }

// load loads one service and gives what the tests of both have in common.
func load(s config.Service, src config.Sources) ([]config.Setting, error) {
	if s == config.ServiceManager {
		m, err := config.LoadManager(src)
		if err != nil {
			return nil, err
		}
		return m.Settings(), nil
	}
	g, err := config.LoadGateway(src)
	if err != nil {
		return nil, err
	}
	return g.Settings(), nil
}

// fileOf is a Sources with one file for the service.
func fileOf(s config.Service, content string) config.Sources {
	if s == config.ServiceManager {
		return sources("", content, nil)
	}
	return sources(content, "", nil)
}

func values(settings []config.Setting) map[string]string {
	out := map[string]string{}
	for _, s := range settings {
		out[s.Key] = s.Value
	}
	return out
}

func TestExampleFilesAreWhatTheTablesSay(t *testing.T) {
	for _, s := range both() {
		t.Run(string(s), func(t *testing.T) {
			var want bytes.Buffer
			if err := config.WriteExample(&want, s); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(s.ExampleFile(), want.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(s.ExampleFile())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("%s is not what the table says: go test ./config -run %s -update", s.ExampleFile(), t.Name())
			}
		})
	}
}

// The shipped files load, as they are and with every setting that they show,
// and both give the defaults.
func TestExampleFilesLoad(t *testing.T) {
	setting := regexp.MustCompile(`(?m)^#(\w+ = )`)
	for _, s := range both() {
		t.Run(string(s), func(t *testing.T) {
			example, err := os.ReadFile(s.ExampleFile())
			if err != nil {
				t.Fatal(err)
			}
			want, err := load(s, config.Sources{})
			if err != nil {
				t.Fatal(err)
			}
			for name, content := range map[string]string{
				"as shipped": string(example), "with every setting": setting.ReplaceAllString(string(example), "$1"),
			} {
				got, err := load(s, fileOf(s, content))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if fmt.Sprint(values(got)) != fmt.Sprint(values(want)) {
					t.Errorf("%s: %v, want the defaults %v", name, values(got), values(want))
				}
			}
			all := setting.ReplaceAllString(string(example), "$1")
			for _, row := range config.Rows(s) {
				name := row.Path[strings.LastIndex(row.Path, ".")+1:]
				if shown := strings.Contains(all, "\n"+name+" = "); shown == (row.Retired != "") {
					t.Errorf("%s: shown is %v", row.Path, shown)
				}
			}
			// What older files have stands there as a setting.
			for _, row := range config.Rows(s) {
				name := row.Path[strings.LastIndex(row.Path, ".")+1:]
				if row.WellKnown && !strings.Contains(string(example), "\n"+name+" = ") {
					t.Errorf("%s is a comment", row.Path)
				}
			}
		})
	}
}

func TestTablesAreSound(t *testing.T) {
	folded := map[string]string{} // what a variable is compared by -> its key
	for _, s := range both() {
		flags := map[string]string{}
		rows := config.Rows(s)
		for _, k := range config.Keys(s) {
			if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("%s %s: the doc %q is no sentence", s, k.Path, k.Doc)
			}
			if k.Flag != "" && flags[k.Flag] != "" {
				t.Errorf("%s %s: --%s is the flag of %s", s, k.Path, k.Flag, flags[k.Flag])
			}
			flags[k.Flag] = k.Path
			if want := regexp.MustCompile(`^FIRETOWER(_[A-Z]+)+$`); !want.MatchString(k.Env) {
				t.Errorf("%s %s: variable %s", s, k.Path, k.Env)
			}
			for _, name := range []string{k.Path, string(s) + "." + k.Path} {
				f := config.FoldEnv(name)
				if other, taken := folded[f]; taken && other != k.Path {
					t.Errorf("the variables of %s and %s are the same", k.Path, other)
				}
				folded[f] = k.Path
			}
		}
		for _, r := range rows {
			if r.PortOf != "" && !slices.ContainsFunc(rows, func(o config.Row) bool { return o.Path == r.PortOf }) {
				t.Errorf("%s %s: part of an unknown %s", s, r.Path, r.PortOf)
			}
			switch r.Kind {
			case config.KindInt, config.KindSize, config.KindDuration:
				if r.Lo >= r.Hi {
					t.Errorf("%s %s: bounds %d to %d", s, r.Path, r.Lo, r.Hi)
				}
			case config.KindChoice:
				if len(r.Choices) < 2 {
					t.Errorf("%s %s: choices %q", s, r.Path, r.Choices)
				}
			default:
			}
		}
	}
	for path, want := range map[string]string{
		"bucket.CentralChanCount": "FIRETOWER_BUCKET_CENTRAL_CHAN_COUNT",
		"limits.maxTopicsPerConn": "FIRETOWER_LIMITS_MAX_TOPICS_PER_CONN",
		"grpc.address":            "FIRETOWER_GRPC_ADDRESS",
		"topicServiceAddr":        "FIRETOWER_TOPIC_SERVICE_ADDR",
		"cluster.id":              "FIRETOWER_CLUSTER_ID",
		"x.HTTPAddr":              "FIRETOWER_X_HTTP_ADDR",
	} {
		if got := config.EnvName(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// sample is a value that is not the default, as a flag and as a file gives it.
func sample(r config.Row) (asFlag, asTOML string) {
	n := r.Lo + (r.Hi-r.Lo)/2
	switch r.Kind {
	case config.KindInt, config.KindPort:
		return strconv.FormatInt(n, 10), strconv.FormatInt(n, 10)
	case config.KindSize:
		return config.FormatSize(n), strconv.FormatInt(n, 10)
	case config.KindDuration:
		d := config.FormatDuration(time.Duration(n))
		return d, strconv.Quote(d)
	case config.KindBool:
		return "true", "true"
	case config.KindChoice:
		return r.Choices[1], strconv.Quote(r.Choices[1])
	case config.KindList:
		if r.Path == "proxy.trusted" {
			return "10.0.0.0/8,192.0.2.1", `["10.0.0.0/8", "192.0.2.1"]`
		}
		return "https://a.example,*", `["https://a.example", "*"]`
	case config.KindListen, config.KindDial:
		at := "h.example:" + strconv.FormatUint(uint64(1000+crc32.ChecksumIEEE([]byte(r.Path))%50_000), 10) // listeners of one process differ
		return at, strconv.Quote(at)
	case config.KindFile:
		return "secret", `"secret"`
	default:
		v := "/some-text"
		if r.Path == "gateway.userHeader" || r.Path == "auth.cookie" {
			v = "X-User"
		}
		return v, strconv.Quote(v)
	}
}

// beside is what a key needs to mean anything.
func beside(path string) []config.Flag {
	pair := map[string]config.Flag{
		"tls.certFile":        {Name: "--set", Key: "tls.keyFile", Value: "k"},
		"tls.keyFile":         {Name: "--set", Key: "tls.certFile", Value: "c"},
		"auth.reloadInterval": {Name: "--set", Key: "auth.keysFile", Value: "k"},
		"auth.issuer":         {Name: "--set", Key: "auth.keysFile", Value: "k"},
		"auth.audience":       {Name: "--set", Key: "auth.keysFile", Value: "k"},
		"auth.cookie":         {Name: "--set", Key: "auth.keysFile", Value: "k"},
		"auth.anonymous":      {Name: "--set", Key: "auth.keysFile", Value: "k"},
		"auth.subscribe":      {Name: "--set", Key: "auth.keysFile", Value: "k"},
		"auth.publish":        {Name: "--set", Key: "auth.keysFile", Value: "k"},
		"proxy.protocol":      {Name: "--set", Key: "proxy.trusted", Value: "10.0.0.0/8"},
		"proxy.forwarded":     {Name: "--set", Key: "proxy.trusted", Value: "10.0.0.0/8"},
	}
	if f, ok := pair[path]; ok {
		return []config.Flag{f}
	}
	return nil
}

// Every key can be set by every source, and shows the value and the origin.
func TestEveryKeyBySource(t *testing.T) {
	for _, s := range both() {
		for _, r := range config.Rows(s) {
			if r.Retired != "" {
				continue
			}
			asFlag, asTOML := sample(r)
			var file string
			if table, name, ok := strings.Cut(r.Path, "."); ok {
				file = "[" + table + "]\n" + name + " = " + asTOML
			} else {
				file = r.Path + " = " + asTOML
			}
			for source, src := range map[config.OriginKind]config.Sources{
				config.FromFile:        fileOf(s, file),
				config.FromEnvironment: {Environ: []string{config.EnvName(r.Path) + "=" + asFlag}},
				config.FromFlag:        {Flags: []config.Flag{{Name: "--set", Key: r.Path, Value: asFlag}}},
			} {
				t.Run(fmt.Sprintf("%s %s %s", s, r.Path, source), func(t *testing.T) {
					src.Flags = append(src.Flags, beside(r.Path)...)
					read := src.ReadFile
					src.ReadFile = func(name string) ([]byte, error) {
						if filepath.Base(name) == "secret" {
							return []byte("hunter2"), nil
						}
						return read(name)
					}
					settings, err := load(s, src)
					if r.Kind == config.KindSecret && source == config.FromFlag {
						if err == nil {
							t.Fatal("a secret was taken from the command line")
						}
						return
					}
					// Half of one bound may not suit its partner's default; that is the one
					// thing that may be wrong here.
					if err != nil {
						if !strings.Contains(err.Error(), "must be at least") {
							t.Fatal(err)
						}
						return
					}
					want, of := asFlag, r.Path
					switch r.Kind {
					case config.KindPort:
						of = r.PortOf
						want = "127.0.0.1:" + asFlag
					case config.KindSecret:
						want = "(set, not shown)"
					default:
					}
					got := setting(t, settings, of)
					origin := got.Origin
					if r.Kind == config.KindPort && got.PortOrigin != nil {
						origin = *got.PortOrigin
					}
					if got.Value != want || origin.Kind != source {
						t.Errorf("%s = %s (%s), want %s (%s)", of, got.Value, origin, want, source)
					}
					if source == config.FromFile && origin.Line != 1+strings.Count(file, "\n") {
						t.Errorf("line %d", origin.Line)
					}
				})
			}
		}
	}
}

// Both ends of every range are in, and what is next to them is out.
func TestEveryBound(t *testing.T) {
	write := func(r config.Row, n int64) string {
		if r.Kind == config.KindDuration {
			return time.Duration(n).String()
		}
		return strconv.FormatInt(n, 10)
	}
	for _, s := range both() {
		for _, r := range config.Rows(s) {
			switch r.Kind {
			case config.KindInt, config.KindPort, config.KindSize, config.KindDuration:
			default:
				continue
			}
			for n, in := range map[int64]bool{r.Lo: true, r.Hi: true, r.Lo - 1: false, r.Hi + 1: false} {
				t.Run(fmt.Sprintf("%s %s %s", s, r.Path, write(r, n)), func(t *testing.T) {
					_, err := load(s, config.Sources{Flags: append(beside(r.Path), config.Flag{Name: "--set", Key: r.Path, Value: write(r, n)})})
					if in && err != nil && !strings.Contains(err.Error(), "must be at least") {
						t.Errorf("refused: %v", err)
					}
					if !in && err == nil {
						t.Error("accepted")
					}
				})
			}
		}
	}
}

// What is printed loads to what was printed.
func TestPrintedConfigurationLoads(t *testing.T) {
	for _, s := range both() {
		t.Run(string(s), func(t *testing.T) {
			var flags []string
			for _, r := range config.Rows(s) {
				// A file that holds a secret would have to exist.
				if r.Retired == "" && r.Kind != config.KindSecret && r.Kind != config.KindFile && r.Kind != config.KindPort {
					asFlag, _ := sample(r)
					flags = append(flags, r.Path+"="+asFlag)
				}
			}
			if s == config.ServiceGateway { // tokens need keys, and no header beside them
				flags = append(flags, "auth.keysFile=/keys.json", "gateway.userHeader=", "gateway.origins=https://a.example")
			}
			src := sources("", "", []string{"FIRETOWER_LINK_TOKEN=hunter2"}, flags...)
			before, err := load(s, src)
			if err != nil {
				t.Fatal(err)
			}
			var printed bytes.Buffer
			if err := config.WriteTOML(&printed, before); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(printed.String(), "hunter2") {
				t.Errorf("the secret is printed:\n%s", &printed)
			}
			after, err := load(s, fileOf(s, printed.String()))
			if err != nil {
				t.Fatalf("%v\n%s", err, &printed)
			}
			got, want := values(after), values(before)
			want["link.token"] = ""
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("loaded %v\nof %v\nby\n%s", got, want, &printed)
			}
		})
	}
}

func TestPrintedTextIsEscaped(t *testing.T) {
	const path = "/a\"b\\c\u0001"
	before, err := load(config.ServiceGateway, sources("", "", nil, "gateway.path="+path))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := config.WriteTOML(&b, before); err != nil {
		t.Fatal(err)
	}
	after, err := load(config.ServiceGateway, sources(b.String(), "", nil))
	if err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	if got := setting(t, after, "gateway.path").Value; got != path {
		t.Errorf("%q became %q", path, got)
	}
}

func TestPrintedConfigurationShowsOrigins(t *testing.T) {
	m, err := config.LoadManager(sources("", "[socket]\nport = 7\n[http]\naddress = ''", []string{"FIRETOWER_LINK_TOKEN=hunter2"}, "log.level=debug"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := config.WriteTOML(&b, m.Settings()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^heartbeat = "5s" +# default$`,
		`(?m)^\[socket\]\naddress = "127.0.0.1:7" +# default, port file mgr.toml:2$`,
		`(?m)^address = "" +# file mgr.toml:4$`,
		`(?m)^# token = "\(set, not shown\)" +# environment FIRETOWER_LINK_TOKEN$`,
		`(?m)^level = "debug" +# flag --set$`,
	} {
		if !regexp.MustCompile(want).Match(b.Bytes()) {
			t.Errorf("no line %s in:\n%s", want, &b)
		}
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"bucket.Num", "bucket.ConsumerNum", "heartbeat", "log.level", "link.token"}
	for word, want := range map[string]string{
		"bucket.num":         "bucket.Num",
		"bucket.munber":      "",
		"bukcet.Num":         "bucket.Num",
		"bucket.ConsumerNmu": "bucket.ConsumerNum",
		"hartbeat":           "heartbeat",
		"level":              "log.level",
		"logging.level":      "log.level",
		"":                   "",
		"zzz":                "",
	} {
		if got := config.Nearest(word, candidates); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
