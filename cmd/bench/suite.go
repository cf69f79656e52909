package main

// packages are those whose benchmarks run, each of a stage of a message's way.
func packages() []string {
	return []string{"core/protocol", "core/manager", "core/gateway", "core/histogram"}
}

// defaultBenchtime makes a run of the whole suite, six times over, take less than four
// minutes.
const defaultBenchtime = "60ms"

// choices narrow the sub-benchmarks of a benchmark, by its function's name, to those that
// are quick to set up: the rest show how a figure grows, and are run by hand.
func choices() map[string]string {
	return map[string]string{
		"BenchmarkEnpack":             "body=(128|4KiB)$",
		"BenchmarkAppendPacket":       "body=(128|4KiB)$",
		"BenchmarkDepack":             "body=(128|4KiB)$",
		"BenchmarkReaderNext":         "body=(128|4KiB)$",
		"BenchmarkRelevanceLookup":    "topics=1_?000$",
		"BenchmarkRelevanceSubscribe": "topics=1_?000$",
		"BenchmarkRelevanceDrop":      "topics=1_?000/",
		"BenchmarkRelevanceTop100":    "topics=1_?000$",
		"BenchmarkPublish":            "via=.*/gateways=[14]$",
		"BenchmarkPublishPaced":       "via=stream/gateways=1/rate=2000$",
		"BenchmarkFanOut":             "messages=.*/subs=100?$",
		"BenchmarkFanOutAlone":        "messages=.*/subs=(1|100)$",
	}
}
