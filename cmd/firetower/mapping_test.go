package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firetower/config"
	"firetower/core/auth"
	"firetower/core/gateway"
	"firetower/core/manager"
)

// processSettings are those keys that are the process's and no package's.
type processSettings struct {
	log       config.Log
	collector collectorSettings
	maxProcs  int
	auth      auth.Options
}

// loadOptions loads a configuration of settings "key=value" and maps it.
func loadOptions(service config.Service, pairs ...string) (any, processSettings, error) {
	src := config.Sources{ReadFile: func(string) ([]byte, error) { return []byte("hunter2"), nil }}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if key == "link.token" { // not for the command line
			src.Environ = append(src.Environ, "FIRETOWER_LINK_TOKEN="+value)
			continue
		}
		src.Flags = append(src.Flags, config.Flag{Name: "--set", Key: key, Value: value})
	}
	if service == config.ServiceManager {
		c, err := config.LoadManager(src)
		if err != nil {
			return nil, processSettings{}, err
		}
		return managerOptions(c), processSettings{c.Log, collectorOf(c.Runtime), c.Runtime.MaxProcs, auth.Options{}}, nil
	}
	c, err := config.LoadGateway(src)
	if err != nil {
		return nil, processSettings{}, err
	}
	return gatewayOptions(c), processSettings{c.Log, collectorOf(c.Runtime), c.Runtime.MaxProcs, authOptions(c)}, nil
}

// The defaults of a configuration are those of the packages: there is one truth.
func TestDefaultsAgree(t *testing.T) {
	t.Parallel()
	o, process, err := loadOptions(config.ServiceManager)
	if err != nil {
		t.Fatal(err)
	}
	if want := (collectorSettings{percent: 100, limit: math.MaxInt64}); process.collector != want { // Go's own
		t.Errorf("garbage collector %+v, want %+v", process.collector, want)
	}
	wantManager := manager.DefaultOptions()
	wantManager.Version = readBuildInfo().short()
	if !reflect.DeepEqual(o, wantManager) {
		t.Errorf("manager: %+v\nwant %+v", o, wantManager)
	}
	o, _, err = loadOptions(config.ServiceGateway)
	if err != nil {
		t.Fatal(err)
	}
	wantGateway := gateway.DefaultOptions()
	wantGateway.Version = readBuildInfo().short()
	// The package alone listens nowhere and has no manager.
	wantGateway.Listen, wantGateway.ManagerLink, wantGateway.ManagerGRPC = "127.0.0.1:9999", "127.0.0.1:6666", "127.0.0.1:6667"
	wantGateway.AllowedOrigins, wantGateway.FlushTopics, wantGateway.Proxy.Trusted = []string{}, []string{}, []string{}
	if !reflect.DeepEqual(o, wantGateway) {
		t.Errorf("gateway: %+v\nwant %+v", o, wantGateway)
	}
}

// beside is what keys need to mean anything.
var beside = map[string][]string{
	"tls.certFile":        {"tls.certFile=a", "tls.keyFile=a"},
	"tls.keyFile":         {"tls.certFile=a", "tls.keyFile=a"},
	"auth.reloadInterval": {"auth.keysFile=a"},
	"auth.issuer":         {"auth.keysFile=a"},
	"auth.audience":       {"auth.keysFile=a"},
	"auth.cookie":         {"auth.keysFile=a"},
	"auth.anonymous":      {"auth.keysFile=a"},
	"auth.subscribe":      {"auth.keysFile=a"},
	"auth.publish":        {"auth.keysFile=a"},
	"proxy.protocol":      {"proxy.trusted=10.0.0.0/8"},
	"proxy.forwarded":     {"proxy.trusted=10.0.0.0/8"},
}

// No key is parsed and ignored: each changes what the service is made with.
func TestEveryKeyHasAnEffect(t *testing.T) {
	t.Parallel()
	candidates := []string{
		"optional", "forwarded", "1.3", "10.0.0.0/8",
		"2", "true", "false", "debug", "latest", "json", "3s", "500ms", "1h", "2MiB", "9MiB", "64MiB", "h.example:7", "https://a.example", "/p", "X-User", "name",
	}
	for _, service := range []config.Service{config.ServiceManager, config.ServiceGateway} {
		for _, k := range config.Keys(service) {
			t.Run(string(service)+" "+k.Path, func(t *testing.T) {
				t.Parallel()
				before, processBefore, err := loadOptions(service, beside[k.Path]...)
				if err != nil {
					t.Fatal(err)
				}
				var errs []error
				for _, value := range candidates {
					after, processAfter, err := loadOptions(service, append(slices.Clone(beside[k.Path]), k.Path+"="+value)...)
					if err != nil {
						errs = append(errs, err)
						continue
					}
					if !reflect.DeepEqual(before, after) || !reflect.DeepEqual(processBefore, processAfter) {
						return
					}
				}
				t.Errorf("no value changes anything; refused were:\n%v", errors.Join(errs...))
			})
		}
	}
}

// What a configuration allows, the packages allow: its bounds are within theirs.
func TestBoundsAgree(t *testing.T) {
	t.Parallel()
	span := regexp.MustCompile(`^from (\S+) to (\S+)$`)
	for _, service := range []config.Service{config.ServiceManager, config.ServiceGateway} {
		for _, k := range config.Keys(service) {
			m := span.FindStringSubmatch(k.Values)
			if m == nil {
				continue
			}
			for _, value := range m[1:] {
				t.Run(fmt.Sprintf("%s %s %s", service, k.Path, value), func(t *testing.T) {
					t.Parallel()
					o, _, err := loadOptions(service, append(slices.Clone(beside[k.Path]), k.Path+"="+value)...)
					if err != nil {
						// At its bound a key may not suit another's default.
						if !strings.Contains(err.Error(), "must be at least") {
							t.Error(err)
						}
						return
					}
					switch o := o.(type) {
					case manager.Options:
						err = o.Validate()
					case gateway.Options:
						err = o.Validate()
					default:
						t.Fatalf("options are a %T", o)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// What a configuration takes for a pattern of topics, package auth takes, and the other way round.
func TestTopicPatternsAgree(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"news", "room.*", "*", "**", "user.{user}", "{user}.*", "a b", "a\u00a0b", "a\u0085b", "a\u2028*", "\x7f", "é", "火*", "\xff", "\ufffd",
		strings.Repeat("t", 255), strings.Repeat("t", 256), strings.Repeat("t", 255) + "*",
	} {
		_, err := config.LoadGateway(config.Sources{Flags: []config.Flag{
			{Name: "--set", Key: "auth.keysFile", Value: "k"}, {Name: "--set", Key: "auth.publish", Value: text},
		}})
		want := (&auth.Options{KeysFile: "k", Publish: []string{text}}).Validate()
		if (err == nil) != (want == nil) {
			t.Errorf("%q: config says %v, auth %v", text, err, want)
		}
	}
}
