"""Between messages and dataclasses: conversion, QoS, parameters, lifecycle."""
