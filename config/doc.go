// Package config turns files, environment and flags into the typed
// configuration of the services, and can tell where each value came from.
//
// It owns the names, units, bounds and defaults of every key: one table a
// service ([gatewayKeys], [managerKeys]) drives the files, the environment, the
// flags, what is printed, and the shipped examples fireTower.toml and
// topicmanage.toml. It knows nothing of the packages that use a configuration:
// cmd/firetower maps it to their options.
//
// A later source wins over an earlier one:
//
//	default < file < environment < flag
//
// Whatever a source says is either understood or refused: an unknown key, a
// variable FIRETOWER_... that names none, or a value that cannot work is a
// [SourceError] with its place, and loading reports all problems at once.
package config
