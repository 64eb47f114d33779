//go:build !go1.23

package main

func ranges(int) int { return 0 }
